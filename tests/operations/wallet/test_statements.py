"""The balance and the statement, as the caller sees them."""

import pytest

from tests.support.calling import As, nobody
from tests.support.money import give, holder, ledger_holds, payable
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> As:
    """Ada, a customer with 500 tokens."""
    return holder("Ada", 500)


def test_a_statement_explains_the_balance(ada: As, stores: Stores) -> None:
    bob = holder("Bob", 7)
    first, second = payable(ada, bob, "120.00", "30.00")
    for order_id in (first, second):
        assert ada.call("pay_order", key=str(order_id), order_id=order_id).status == 201
    assert bob.call("refund_order", {"amount": 20}, key="r", order_id=first).status == 201

    def statement(who: As) -> list[tuple[str, str, int, int, int | None]]:
        fields = ("kind", "direction", "tokens", "balance_after", "order_id")
        return [tuple(entry[field] for field in fields) for entry in who.call("list_ledger")["items"]]

    assert statement(ada) == [
        ("refund", "credit", 20, 370, first),
        ("payment", "debit", 30, 350, second),
        ("payment", "debit", 120, 380, first),
        ("topup", "credit", 500, 500, None),
    ]
    assert statement(bob) == [
        ("refund", "debit", 20, 137, first),
        ("payment", "credit", 30, 157, second),
        ("payment", "credit", 120, 127, first),
        ("topup", "credit", 7, 7, None),
    ]
    for who in (ada, bob):
        entries = who.call("list_ledger")["items"]
        assert who.call("show_balance").json == {"tokens": entries[0]["balance_after"]}
        assert (
            sum(entry["tokens"] * (1 if entry["direction"] == "credit" else -1) for entry in entries)
            == (entries[0]["balance_after"])
        )
        assert all(set(entry) == FIELDS for entry in entries)
    ledger_holds(stores)


FIELDS = {"id", "kind", "direction", "tokens", "balance_after", "order_id", "topup_id", "created_at"}


def test_pages_stay_as_they_are_while_entries_are_added(ada: As, stores: Stores) -> None:
    for _ in range(4):
        give(ada.user_id or 0, 1)
    first = ada.call("list_ledger", query={"limit": 2})
    give(ada.user_id or 0, 1)
    second = ada.call("list_ledger", query={"limit": 2, "cursor": first["next_cursor"]})
    balances = [entry["balance_after"] for page in (first, second) for entry in page["items"]]
    assert balances == [504, 503, 502, 501]
    third = ada.call("list_ledger", query={"limit": 2, "cursor": second["next_cursor"]})
    assert ([entry["balance_after"] for entry in third["items"]], third["next_cursor"]) == ([500], None)


def test_everybody_sees_their_own_only(ada: As) -> None:
    bob = holder("Bob")
    assert bob.call("list_ledger").json == {"items": [], "next_cursor": None}
    assert bob.call("show_balance").json == {"tokens": 0}
    assert nobody.call("list_ledger").status == nobody.call("show_balance").status == 401
    give(ada.user_id or 0, 1)
    cursor = ada.call("list_ledger", query={"limit": 1})["next_cursor"]
    assert bob.call("list_ledger", query={"cursor": cursor}).status == 422
    assert ada.call("list_ledger", query={"limit": 0}).status == 422
    assert ada.call("list_ledger", query={"kind": "topup"}).status == 422


def test_whose_account_is_gone_has_no_balance(ada: As, stores: Stores) -> None:
    stores.rows("itlc_users", "UPDATE users SET erased_at = now()")
    assert ada.call("show_balance").status == 401
