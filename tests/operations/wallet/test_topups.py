"""Topping up: asked for, credited exactly once, settled, told of."""

import json
import uuid
from typing import Any

import pytest
from itlc.errors import StoreAway
from itlc.stores import postgres
from itlc.wallet import personal_data
from itlc.wallet.model import MAX_TOKENS, failed_topup
from itlc.wallet.saga import Cause

from tests.support.calling import As, deliver, nobody, run_scheduled
from tests.support.market import provider_of
from tests.support.money import deliver_again, give, holder, ledger_holds, money, outbox, tokens_of
from tests.support.queues import dead_letters, drain, receive_all
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> As:
    """Ada, who has no tokens."""
    return holder("Ada")


def test_a_top_up_is_pending_then_credited_and_completed(ada: As, stores: Stores) -> None:
    response = ada.call("top_up", {"amount": 500}, key="k")
    assert response.status == 202
    topup = response.json
    assert (topup["user_id"], topup["amount"], topup["status"]) == (ada.user_id, "500.00", "pending")
    assert response.headers["Location"] == f"token-topups/{topup['id']}"
    assert response.headers["ETag"] == ada.call("read_topup", topup_id=topup["id"]).headers["ETag"]
    assert tokens_of(stores, ada) == [0]

    drain()
    seen = ada.call("read_topup", topup_id=topup["id"])
    assert (seen.status, seen["status"], seen["failure"]) == (200, "completed", None)
    assert ada.call("show_balance").json == {"tokens": 500}
    (entry,) = ada.call("list_ledger")["items"]
    assert (entry["kind"], entry["direction"], entry["tokens"]) == ("topup", "credit", 500)
    assert (entry["balance_after"], entry["topup_id"], entry["order_id"]) == (500, topup["id"], None)
    (told,) = stores.rows("itlc_orders", "SELECT * FROM notifications")
    assert (told["user_id"], told["about"]) == (ada.user_id, f"topup:{topup['id']}")
    (audited,) = stores.rows("itlc_users", "SELECT * FROM audit")
    assert (audited["actor_id"], audited["action"]) == (ada.user_id, "top_up")
    assert audited["object"] == f"topup:{topup['id']}"
    ledger_holds(stores)


@pytest.mark.parametrize("amount", [1, "1", "1.00", 1_000_000_000, "1000000000"])
def test_whole_amounts_are_taken(ada: As, amount: Any) -> None:
    assert ada.call("top_up", {"amount": amount}, key="k").status == 202


@pytest.mark.parametrize(
    "body",
    [{"amount": amount} for amount in (0, -1, 1.5, "1.5", "1.005", True, None, "a", "1e3", 1_000_000_001, [1])]
    + [{}, {"amount": 1, "user_id": 0}, {"amount": 1, "user_id": "1"}, {"amount": 1, "for": 1}],
)
def test_other_amounts_and_fields_are_refused(ada: As, body: Any, stores: Stores) -> None:
    response = ada.call("top_up", body, key="k")
    assert response.status == 422
    assert response["errors"]
    assert stores.rows("itlc_tokens", "SELECT * FROM token_topups") == []


def test_a_key_is_needed_and_replays(ada: As, stores: Stores) -> None:
    assert ada.call("top_up", {"amount": 5}).status == 400
    assert nobody.call("top_up", {"amount": 5}, key="k").status == 401
    first = ada.call("top_up", {"amount": 5}, key="k")
    drain()
    again = ada.call("top_up", {"amount": 5}, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (202, first.text, "true")
    assert ada.call("top_up", {"amount": 6}, key="k").status == 422
    drain()
    assert tokens_of(stores, ada) == [5]


def test_only_providers_top_up_for_others(ada: As, stores: Stores) -> None:
    bob = holder("Bob")
    assert ada.call("top_up", {"amount": 5, "user_id": ada.user_id}, key="own").status == 202
    assert ada.call("top_up", {"amount": 5, "user_id": bob.user_id}, key="k").status == 403
    admin = holder("Eve", admin=True)
    assert admin.call("top_up", {"amount": 5, "user_id": bob.user_id}, key="k").status == 403
    provider_of(ada)
    assert ada.call("top_up", {"amount": 5, "user_id": 4711}, key="k2").status == 404
    topup = ada.call("top_up", {"amount": 7, "user_id": bob.user_id}, key="k3").json
    assert (topup["user_id"], topup["made_by"]) == (bob.user_id, ada.user_id)
    drain()
    assert tokens_of(stores, ada, bob) == [5, 7]
    told = {row["user_id"] for row in stores.rows("itlc_orders", "SELECT user_id FROM notifications")}
    assert told == {ada.user_id, bob.user_id}
    ledger_holds(stores)


def test_who_made_it_or_gets_it_reads_it(ada: As, stores: Stores) -> None:
    bob, eve = holder("Bob"), holder("Eve", admin=True)
    stranger = holder("Sam")
    provider_of(ada)
    for_bob = ada.call("top_up", {"amount": 7, "user_id": bob.user_id}, key="k1")["id"]
    own = ada.call("top_up", {"amount": 8}, key="k2")["id"]
    assert [somebody.call("read_topup", topup_id=for_bob).status for somebody in (ada, bob, eve, stranger)] == [
        200,
        200,
        200,
        404,
    ]
    assert bob.call("read_topup", topup_id=own).status == 404
    assert nobody.call("read_topup", topup_id=own).status == 401
    assert ada.call("read_topup", topup_id=99).status == 404
    assert [item["id"] for item in ada.call("list_topups")["items"]] == [own, for_bob]
    assert [[item["id"] for item in page] for page in ada.pages("list_topups", query={"limit": 1})] == [
        [own],
        [for_bob],
    ]
    assert [item["id"] for item in bob.call("list_topups")["items"]] == [for_bob]
    assert stranger.call("list_topups")["items"] == eve.call("list_topups")["items"] == []


def test_a_top_up_fails_where_the_balance_would_be_too_full(ada: As, stores: Stores) -> None:
    _fill(ada)
    assert tokens_of(stores, ada) == [MAX_TOKENS]
    topup = ada.call("top_up", {"amount": 1}, key="k")["id"]
    drain()
    seen = ada.call("read_topup", topup_id=topup).json
    assert (seen["status"], seen["failure"]) == ("failed", "the balance would pass 2,147,483,647 tokens")
    assert len(stores.rows("itlc_orders", "SELECT * FROM notifications WHERE message LIKE '%failed%'")) == 1
    assert tokens_of(stores, ada) == [MAX_TOKENS]
    ledger_holds(stores)


def test_a_top_up_of_somebody_erased_fails(ada: As, stores: Stores) -> None:
    topup = ada.call("top_up", {"amount": 1}, key="k")["id"]
    stores.rows("itlc_users", "UPDATE users SET erased_at = now()")
    drain()
    (row,) = stores.rows("itlc_tokens", "SELECT * FROM token_topups")
    assert (row["id"], row["status"], row["failure"]) == (topup, "failed", "the account is gone")
    ledger_holds(stores)


def test_messages_that_come_again_in_any_order_change_nothing(ada: As, stores: Stores) -> None:
    for number in range(3):
        ada.call("top_up", {"amount": 10}, key=str(number))
    drain()
    before = money(stores)
    assert len(outbox(stores)) == 6
    deliver_again(stores)
    drain()
    assert money(stores) == before
    assert len(stores.rows("itlc_orders", "SELECT * FROM notifications")) == 3
    assert tokens_of(stores, ada) == [30]


@pytest.mark.parametrize(
    ("type", "payload", "reason"),
    [
        ("credit", {"topup_id": 1, "user_id": 4711, "tokens": 5, "made_by": 1}, "there is no user 4711"),
        ("credit", {"topup_id": 1, "user_id": 1, "tokens": -5, "made_by": 1}, "tokens"),
        ("credit", {"topup_id": 1}, "user_id"),
        ("credit", {"topup_id": 2**31, "user_id": 1, "tokens": 5, "made_by": 1}, "topup_id"),
        ("credited", {"topup_id": 4711}, "there is no top-up 4711"),
        ("refused", {"topup_id": 1, "reason": "whim"}, "reason"),
        ("credits", {}, "there is no event type 'credits'"),
    ],
)
def test_a_message_that_can_never_succeed_is_buried(
    ada: As,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    type: str,
    payload: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setattr(Cause, "confirm", lambda cause, event: None)  # the steps look for themselves, too
    message = {
        "schema": 1,
        "type": type,
        "aggregate": "topup:1",
        "payload": payload,
        "id": str(uuid.uuid4()),
        "created_at": "2026-01-01T00:00:00+00:00",
        "aggregate_version": None,
        "request_id": None,
    }
    assert deliver("process_topups", json.dumps(message)) == []
    (dead,) = dead_letters("topups")
    assert reason in dead["reason"]
    assert stores.rows("itlc_users", "SELECT * FROM inbox") == []
    ledger_holds(stores)


# Stuck top-ups


def _is_old(stores: Stores) -> None:
    stores.rows("itlc_tokens", "UPDATE token_topups SET created_at = created_at - interval '61 minutes'")


def _messages(stores: Stores, type: str) -> list[str]:
    return [body for _, body in outbox(stores) if json.loads(body)["type"] == type]


def test_a_stuck_top_up_fails_and_a_late_message_credits_it_no_more(ada: As, stores: Stores) -> None:
    topup = ada.call("top_up", {"amount": 500}, key="k")["id"]
    assert run_scheduled("expire_topups") == {"settled": 0}
    _is_old(stores)
    assert run_scheduled("expire_topups") == {"settled": 1}
    assert ada.call("read_topup", topup_id=topup)["status"] == "failed"

    drain()  # the message comes after all
    deliver_again(stores)
    assert dead_letters("topups") == []  # for it says what the job has taken note of
    assert tokens_of(stores, ada) == [0]
    assert ada.call("read_topup", topup_id=topup)["status"] == "failed"
    assert run_scheduled("expire_topups") == {"settled": 0}
    ledger_holds(stores)


def test_a_stuck_top_up_that_was_refused_fails_for_the_reason_that_was_given(ada: As, stores: Stores) -> None:
    _fill(ada)
    topup = ada.call("top_up", {"amount": 500}, key="k")["id"]
    (credit,) = _messages(stores, "credit")
    assert deliver("process_topups", credit) == []  # and the message that says so is lost
    _is_old(stores)
    assert run_scheduled("expire_topups") == {"settled": 1}
    assert ada.call("read_topup", topup_id=topup)["failure"] == failed_topup("payee_full")
    drain()
    assert tokens_of(stores, ada) == [MAX_TOKENS]
    ledger_holds(stores)


def test_a_stuck_top_up_that_was_credited_is_completed(ada: As, stores: Stores) -> None:
    topup = ada.call("top_up", {"amount": 500}, key="k")["id"]
    (credit,) = _messages(stores, "credit")
    assert deliver("process_topups", credit) == []  # and the message that says so is lost
    assert ada.call("read_topup", topup_id=topup)["status"] == "pending"
    _is_old(stores)
    assert run_scheduled("expire_topups") == {"settled": 1}
    assert ada.call("read_topup", topup_id=topup)["status"] == "completed"
    drain()
    assert tokens_of(stores, ada) == [500]
    assert len(stores.rows("itlc_orders", "SELECT * FROM notifications")) == 1
    ledger_holds(stores)


def test_a_stuck_top_up_that_was_credited_is_completed_though_what_the_ledger_said_was_purged(
    ada: As, stores: Stores
) -> None:
    topup = ada.call("top_up", {"amount": 500}, key="k")["id"]
    (credit,) = _messages(stores, "credit")
    assert deliver("process_topups", credit) == []
    receive_all("topups")
    stores.rows("itlc_users", "DELETE FROM outbox")
    _is_old(stores)
    assert run_scheduled("expire_topups") == {"settled": 1}
    assert ada.call("read_topup", topup_id=topup)["status"] == "completed"
    assert tokens_of(stores, ada) == [500]
    ledger_holds(stores)


@pytest.mark.parametrize("settle", ["expire_topups", "erase_user"])
def test_a_stuck_top_up_that_says_something_else_than_what_was_credited_holds_up_no_other(
    ada: As, stores: Stores, settle: str
) -> None:
    first, second = (ada.call("top_up", {"amount": amount}, key=str(amount))["id"] for amount in (500, 30))
    for credit in _messages(stores, "credit"):
        assert deliver("process_topups", credit) == []  # and the messages that say so are lost
    stores.rows("itlc_tokens", "UPDATE token_topups SET amount = 5000 WHERE id = :id", id=first)
    if settle == "erase_user":
        personal_data.fail_pending(ada.user_id or 0)
    else:
        _is_old(stores)
        assert run_scheduled("expire_topups") == {"settled": 1}
    assert ada.call("read_topup", topup_id=first)["status"] == "pending"
    assert ada.call("read_topup", topup_id=second)["status"] == "completed"
    assert tokens_of(stores, ada) == [530]


def test_while_the_ledger_is_away_nothing_is_settled(ada: As, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    topup = ada.call("top_up", {"amount": 500}, key="k")["id"]
    (credit,) = _messages(stores, "credit")
    _is_old(stores)

    def away(work: Any) -> Any:
        raise StoreAway("itlc_users")

    with monkeypatch.context() as patch:
        patch.setattr(postgres.users, "write", away)
        with pytest.raises(StoreAway):
            run_scheduled("expire_topups")
        assert deliver("process_topups", credit) == ["message-0"]  # tried again later
    assert ada.call("read_topup", topup_id=topup)["status"] == "pending"
    drain()
    assert ada.call("read_topup", topup_id=topup)["status"] == "completed"
    ledger_holds(stores)


def _fill(who: As) -> None:
    """Give somebody as many tokens as one may have."""
    for tokens in (1_000_000_000, 1_000_000_000, MAX_TOKENS - 2_000_000_000):
        give(who.user_id or 0, tokens)
