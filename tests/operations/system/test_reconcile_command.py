"""`itlc reconcile`: the table that it prints and how it ends."""

from collections.abc import Iterator

import pytest
from itlc.errors import StoreAway
from itlc.stores import postgres

from infra.local.commands import reconcile
from infra.local.commands.terminal import result
from tests.support.money import holder
from tests.support.stack import Stores


@pytest.fixture
def stores_with_somebody(stores: Stores) -> Iterator[Stores]:
    """Ada has 10 tokens. Lines are wide enough not to be folded."""
    holder("Ada", 10)
    width = result.width
    result.width = 200
    yield stores
    result.width = width


def test_it_ends_with_0_where_all_holds_and_keeps_what_was_found(
    stores_with_somebody: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile.show(reconcile.run()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 18
    assert lines[0].split() == ["invariant", "state", "looked", "at", "broken"]
    assert all(line.split()[1] == "holds" for line in lines[1:])
    (kept,) = stores_with_somebody.rows("itlc_users", "SELECT * FROM reconciliations")
    assert kept["made_by"] is None
    assert len(kept["findings"]) == 18


def test_it_ends_with_1_and_names_the_rows_where_something_is_broken(
    stores_with_somebody: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    stores_with_somebody.rows(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, status, made_by) "
        "SELECT 1, 1, 'completed', 1 FROM generate_series(1, 7)",
    )
    assert reconcile.show(reconcile.run()) == 1
    out = capsys.readouterr().out
    assert "topup:2, topup:3, topup:4, topup:5, topup:6 and 2 more" in out
    assert "topup_is_one_transfer: A top-up is completed if and only if" in out


def test_it_ends_with_2_where_something_could_not_be_checked(
    stores_with_somebody: Stores, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreAway("itlc_users")

    for name in ("snapshot", "write"):
        monkeypatch.setattr(postgres.users, name, away)
    assert reconcile.show(reconcile.run()) == 2
    shown = capsys.readouterr()
    assert "itlc_users is away" in shown.out
    assert "not kept: itlc_users is away" in shown.err
