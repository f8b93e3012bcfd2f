"""Paying for a whole project: all its completed orders at once, or none."""

from collections.abc import Iterator

import pytest
from itlc.stores import postgres
from itlc.wallet import payments

from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As, Response, nobody
from tests.support.market import order_in
from tests.support.money import deliver_again, give, holder, ledger_holds, money, payable, tokens_of
from tests.support.queues import drain
from tests.support.stack import Stores


@pytest.fixture
def ada(stores: Stores) -> Iterator[As]:
    """Ada, a customer with 500 tokens; whatever a test does with them, the ledger holds afterwards."""
    yield holder("Ada", 500)
    ledger_holds(stores)


@pytest.fixture
def bob(ada: As) -> As:
    """Bob, a provider without tokens."""
    return holder("Bob")


@pytest.fixture
def project(ada: As) -> str:
    """A project of Ada's, without orders yet."""
    return str(ada.call("create_project", {"name": "Garden", "description": "The back one."})["id"])


def pay(who: As, project_id: str, key: str = "k") -> Response:
    """Pay a project."""
    return who.call("pay_project", key=key, project_id=project_id)


def statuses(stores: Stores) -> list[str]:
    """The orders' states, by their ids."""
    return [row["status"] for row in stores.rows("itlc_orders", "SELECT status FROM orders ORDER BY id")]


def test_all_completed_orders_are_paid_at_once(ada: As, bob: As, project: str, stores: Stores) -> None:
    cy = holder("Cy")
    first, second = payable(ada, bob, "120.00", "30.50", project_id=project)
    (third,) = payable(ada, cy, "10.00", project_id=project)
    order_in("cancelled", ada, bob, project_id=project)
    (elsewhere,) = payable(ada, bob, "5.00")
    response = pay(ada, project)
    assert response.status == 201
    assert response.json == {
        "project_id": project,
        "orders": [
            {"order_id": first, "tokens_charged": 120},
            {"order_id": second, "tokens_charged": 31},
            {"order_id": third, "tokens_charged": 10},
        ],
        "tokens_charged": 161,
        "balance": 339,
    }
    assert tokens_of(stores, ada, bob, cy) == [339, 151, 10]
    assert statuses(stores) == ["paid", "paid", "paid", "cancelled", "completed"]
    debits = [entry for entry in ada.call("list_ledger")["items"] if entry["kind"] == "payment"]
    assert [(entry["order_id"], entry["balance_after"]) for entry in debits] == [
        (third, 339),
        (second, 349),
        (first, 380),
    ]
    drain()
    assert ada.call("read_project", project_id=project)["status"] == "paid"
    assert pay(ada, project).text == response.text
    assert pay(ada, project, "another key").status == 409
    before = money(stores)
    deliver_again(stores)
    assert money(stores) == before
    assert ada.call("read_order", order_id=elsewhere)["status"] == "completed"


def test_with_too_few_tokens_none_is_paid(ada: As, bob: As, project: str, stores: Stores) -> None:
    payable(ada, bob, "300.00", "201.00", project_id=project)
    response = pay(ada, project)
    assert response.status == 402
    assert statuses(stores) == ["completed", "completed"]
    assert tokens_of(stores, ada, bob) == [500, 0]
    give(ada.user_id or 0, 1)
    assert pay(ada, project).status == 402
    assert pay(ada, project, "another key").status == 201


def test_only_a_completed_project_is_paid(ada: As, bob: As, project: str, stores: Stores) -> None:
    without_orders = pay(ada, project)
    assert (without_orders.status, without_orders["type"]) == (409, "urn:itlc:problem:conflict")
    payable(ada, bob, "10.00", project_id=project)
    order_in("in_progress", ada, bob, project_id=project)
    assert pay(ada, project, "k2").status == 409
    assert statuses(stores) == ["completed", "in_progress"]


def test_what_was_paid_by_itself_is_left_out(ada: As, bob: As, project: str, stores: Stores) -> None:
    first, second = payable(ada, bob, "100.00", "50.00", project_id=project)
    assert ada.call("pay_order", key="k", order_id=first).status == 201
    response = pay(ada, project)
    assert response["orders"] == [{"order_id": second, "tokens_charged": 50}]
    assert tokens_of(stores, ada, bob) == [350, 150]


def test_only_the_owner_pays(ada: As, bob: As, project: str, stores: Stores) -> None:
    stranger, admin = holder("Sam", 500), holder("Eve", 500, admin=True)
    assert pay(stranger, project).status == 404
    assert pay(admin, project, "k2").status == 403
    payable(ada, bob, "10.00", project_id=project)
    assert pay(stranger, project, "k2").status == 404
    assert pay(bob, project).status == 404
    assert pay(admin, project).status == 403
    assert pay(nobody, project).status == 401
    assert pay(ada, "0" * 24, "k4").status == 404
    assert pay(ada, "garden", "k5").status == 404
    assert ada.call("pay_project", project_id=project).status == 400
    stores.rows("itlc_users", "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'")
    assert pay(ada, project, "k3").status == 401
    assert statuses(stores) == ["completed"]


@pytest.mark.parametrize(("database", "transaction"), [(postgres.users, 1), (postgres.orders, 2)])
def test_cut_off_it_answers_202_and_the_queue_settles(
    ada: As,
    bob: As,
    project: str,
    stores: Stores,
    monkeypatch: pytest.MonkeyPatch,
    database: postgres.Database,
    transaction: int,
) -> None:
    payable(ada, bob, "100.00", "50.00", project_id=project)
    with monkeypatch.context() as patch:
        cut(patch, database, transaction, Cut())
        response = pay(ada, project)
    assert (response.status, response.json) == (202, {"project_id": project, "status": "paying"})
    assert pay(ada, project, "another key").status == 409
    drain()
    assert pay(ada, project)["balance"] == 350
    assert tokens_of(stores, ada, bob) == [350, 150]


def test_more_orders_than_one_payment_takes_are_refused_by_their_number(
    ada: As, bob: As, project: str, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "MOST_ORDERS", 2)
    first, *_ = payable(ada, bob, "10.00", "20.00", "30.00", project_id=project)
    refused = pay(ada, project)
    assert refused.status == 409
    assert refused["detail"].startswith("The project has 3 unpaid orders; at most 2 are paid at once")
    assert statuses(stores) == ["completed"] * 3
    assert ada.call("pay_order", key="one", order_id=first).status == 201
    assert pay(ada, project, "k2").status == 201
    assert statuses(stores) == ["paid"] * 3
