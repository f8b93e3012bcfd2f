"""Who is an administrator: granted and revoked by the operator's command, asked of the store each time."""

import pytest

from infra.local.commands.admin import grant_admin, revoke_admin
from infra.local.failure import StackError
from tests.support.calling import As, nobody
from tests.support.people import email_of, person, signed_in
from tests.support.stack import Stores

TEMPLATE = {"name": "Garden", "description": "Beds and paths.", "type": "service"}


def audit(stores: Stores) -> list[dict[str, object]]:
    """What is on record in itlc_users, oldest first."""
    return stores.rows("itlc_users", "SELECT actor_id, action, object, before, after FROM audit ORDER BY id")


def test_a_grant_works_at_once_for_what_only_administrators_may_do(stores: Stores) -> None:
    ada = person("Ada")
    assert ada.call("keep_template", TEMPLATE).status == 403
    assert grant_admin(stores.endpoints, email_of("Ada").upper()) is True
    assert ada.call("keep_template", TEMPLATE).status == 201
    assert signed_in("Ada").is_admin
    assert grant_admin(stores.endpoints, email_of("Ada")) is False
    assert audit(stores) == [
        {
            "actor_id": None,
            "action": "grant_admin",
            "object": f"user:{ada.user_id}",
            "before": {"is_admin": False},
            "after": {"is_admin": True},
        }
    ]


def test_a_revocation_ends_the_powers_and_the_sessions(stores: Stores) -> None:
    eve = person("Eve", admin=True)
    assert revoke_admin(stores.endpoints, email_of("Eve")) is True
    assert eve.call("keep_template", TEMPLATE).status == 401
    assert signed_in("Eve").call("keep_template", TEMPLATE).status == 403
    assert stores.rows("itlc_users", "SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL") == [
        {"end_reason": "admin_changed"}
    ]
    assert revoke_admin(stores.endpoints, email_of("Eve")) is False
    assert [entry["action"] for entry in audit(stores)] == ["grant_admin", "revoke_admin"]


def test_only_users_become_administrators(stores: Stores) -> None:
    with pytest.raises(StackError, match=r"nobody@example\.org"):
        grant_admin(stores.endpoints, "nobody@example.org")


def test_the_claim_alone_does_not_make_an_administrator(stores: Stores) -> None:
    ada = person("Ada")
    assert As(ada.user_id, is_admin=True, session_id=ada.session_id).call("keep_template", TEMPLATE).status == 403
    assert As(ada.user_id, is_admin=True).call("keep_template", TEMPLATE).status == 401
    assert nobody.call("keep_template", TEMPLATE).status == 401
