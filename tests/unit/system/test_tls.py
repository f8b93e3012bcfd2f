"""How a PostgreSQL URL says that the connection is to be encrypted."""

import ssl

import pytest
from itlc.stores.postgres import _tls
from sqlalchemy import make_url


@pytest.mark.parametrize("query", ["", "?sslmode=disable"])
def test_without_encryption(query: str) -> None:
    assert _tls(make_url(f"postgresql://a@b/c{query}")) is False


def test_encrypted() -> None:
    context = _tls(make_url("postgresql://a@b/c?sslmode=require"))
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode == ssl.CERT_NONE


def test_encrypted_and_checked() -> None:
    context = _tls(make_url("postgresql://a@b/c?sslmode=verify-full"))
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_anything_else_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="sslmode=perhaps"):
        _tls(make_url("postgresql://a@b/c?sslmode=perhaps"))
