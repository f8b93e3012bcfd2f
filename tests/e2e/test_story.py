"""The whole marketplace story over HTTP, and what it leaves in the seven stores, read by the stores' own names."""

from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from infra.local import demo
from infra.local.commands.admin import grant_admin
from infra.local.stack import Endpoints
from tests.support.money import ledger_holds
from tests.support.stack import Stores
from tests.support.waiting import eventually

OUTBOXES = ("itlc_users", "itlc_api", "itlc_orders", "itlc_tokens", "itlc_templates")


def one(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The only row."""
    assert len(rows) == 1, rows
    return rows[0]


@pytest.fixture(scope="module")
def told(api_url: str, endpoints: Endpoints) -> list[str]:
    """The lines of the story, played once."""
    lines: list[str] = []
    demo.play(api_url, lines.append, partial(grant_admin, endpoints))
    return lines


@pytest.fixture(scope="module")
def people(told: list[str], all_stores: Stores) -> dict[str, dict[str, Any]]:
    """The rows of `users`, by name: those of this story, which are the last of their names."""
    rows = all_stores.rows(
        "itlc_users", "SELECT * FROM users WHERE name IN ('Ada', 'Bo', 'Cy', 'Dee', 'Eve') ORDER BY id"
    )
    return {row["name"]: row for row in rows}


@pytest.fixture(scope="module")
def order(people: dict[str, dict[str, Any]], all_stores: Stores) -> dict[str, Any]:
    """The story's order."""
    return one(all_stores.rows("itlc_orders", "SELECT * FROM orders WHERE user_id = :id", id=people["Ada"]["id"]))


def test_every_answer_is_a_good_one(told: list[str]) -> None:
    statuses = [int(line.split()[0]) for line in told if line.startswith("  2") or line.startswith("  4")]
    assert len(statuses) > 40
    assert all(200 <= status < 300 for status in statuses)


def test_users_have_hashed_passwords_and_the_tokens_that_moved(people: dict[str, dict[str, Any]]) -> None:
    assert {name: row["tokens"] for name, row in people.items()} == {
        "Ada": 380,
        "Bo": 220,
        "Cy": 50,
        "Dee": 0,
        "Eve": 0,
    }
    for row in people.values():
        assert row["password"].startswith("$argon2id$")
        assert row["created_at"].tzinfo is not None


def test_the_catalogue_has_the_provider_and_the_services(
    people: dict[str, dict[str, Any]], order: dict[str, Any], all_stores: Stores
) -> None:
    provider = one(all_stores.rows("itlc_api", "SELECT * FROM providers WHERE user_id = :id", id=people["Bo"]["id"]))
    assert (provider["name"], provider["email"]) == ("Bo's Gardens", people["Bo"]["email"])
    services = all_stores.rows(
        "itlc_api", "SELECT * FROM services WHERE provider_id = :id ORDER BY id", id=provider["id"]
    )
    assert [row["name"] for row in services] == ["Landscaping", "Lawn care"]
    assert order["service_id"] == services[0]["id"]
    templates = all_stores.rows("itlc_templates", "SELECT * FROM template_store ORDER BY id DESC LIMIT 2")
    assert {(row["type"], row["name"]) for row in templates} == {
        ("project", "A garden, done"),
        ("service", "Landscaping"),
    }
    assert services[0]["description"] == next(row["description"] for row in templates if row["type"] == "service")


def test_top_ups_are_completed(people: dict[str, dict[str, Any]], all_stores: Stores) -> None:
    rows = all_stores.rows(
        "itlc_tokens",
        "SELECT user_id, amount, status FROM token_topups WHERE user_id = ANY(:ids) ORDER BY id",
        ids=[row["id"] for row in people.values()],
    )
    assert [(row["user_id"], row["amount"], row["status"]) for row in rows] == [
        (people["Ada"]["id"], Decimal(500), "completed"),
        (people["Bo"]["id"], Decimal(100), "completed"),
        (people["Cy"]["id"], Decimal(50), "completed"),
    ]


def test_the_bid_that_won_has_its_order_and_the_other_has_none(
    people: dict[str, dict[str, Any]], order: dict[str, Any], all_stores: Stores
) -> None:
    bids = all_stores.rows(
        "itlc_orders",
        "SELECT bidder_id, order_id, amount, status FROM bidding WHERE service_id = :id ORDER BY id",
        id=order["service_id"],
    )
    assert [(row["bidder_id"], row["order_id"], row["amount"], row["status"]) for row in bids] == [
        (people["Ada"]["id"], order["id"], Decimal("120.00"), "won"),
        (people["Cy"]["id"], None, Decimal("80.00"), "open"),
    ]


def test_the_order_was_checked_in_and_paid(order: dict[str, Any], all_stores: Stores) -> None:
    assert (order["status"], order["amount"], order["tokens_charged"]) == ("paid", Decimal("120.00"), 120)
    checkins = all_stores.rows(
        "itlc_orders", "SELECT status FROM checkins WHERE order_id = :id ORDER BY id", id=order["id"]
    )
    assert [row["status"] for row in checkins] == ["started", "in_progress", "completed"]


def test_the_steps_are_tied_to_their_order_and_to_each_other(order: dict[str, Any], all_stores: Stores) -> None:
    steps = all_stores.graph(
        """
        MATCH (s:OrderStep {order_id: $id})--(:Order {id: $id})
        OPTIONAL MATCH (s)-->(d:OrderStep)
        WITH s, d ORDER BY d.step_number
        WITH s, [n IN collect(d.step_number) WHERE n IS NOT NULL] AS after
        RETURN s {.*} AS step, after ORDER BY s.step_number
        """,
        id=order["id"],
    )
    assert [(row["step"]["step_number"], row["after"]) for row in steps] == [(1, []), (2, [1]), (3, [1]), (4, [2, 3])]
    for row in steps:
        step = row["step"]
        assert UUID(step["id"]).version in (4, 7)
        assert step["description"]
        assert step["requirements"]
        assert step["created_at"] is not None
        assert step["completed_at"] is not None
        assert isinstance(step["notified_personnel"], str)
    assert "dee" in steps[0]["step"]["notified_personnel"]


def test_the_documents_are_there(people: dict[str, dict[str, Any]], order: dict[str, Any], all_stores: Stores) -> None:
    ada, bo = people["Ada"]["id"], people["Bo"]["id"]
    project = one(all_stores.documents("projects", {"owner_id": ada}))
    assert project["name"] == "The back garden"
    assert str(project["_id"]) == order["project_id"]
    eventually(
        lambda: one(all_stores.documents("projects", {"owner_id": ada}))["status"] == "paid", "the project is paid"
    )
    blog = one(all_stores.documents("blogs", {"user_id": bo}))
    assert (blog["title"], blog["author"]) == ("Hedges in March", "Bo's Gardens")
    faq = one(all_stores.documents("faqs", {"user_id": bo}))
    assert (faq["question"], faq["answer"]) == ("Do you work in the rain?", "In a drizzle, yes.")
    rating = one(all_stores.documents("ratings", {"order_id": order["id"]}))
    assert (rating["rating"], rating["review"]) == (5, "A joy to look at.")
    review = one(all_stores.documents("reviews", {"service_id": order["service_id"]}))
    assert review["review"] == "On time, tidy, kind to the hedgehogs."
    for document in (project, blog, faq, rating, review):
        assert document["created_at"].tzinfo is not None


def test_everybody_concerned_was_told_once(
    people: dict[str, dict[str, Any]], order: dict[str, Any], all_stores: Stores
) -> None:
    def messages(name: str) -> list[str]:
        sql = "SELECT message FROM notifications WHERE user_id = :id AND NOT read_status ORDER BY id"
        return [row["message"] for row in all_stores.rows("itlc_orders", sql, id=people[name]["id"])]

    about = f"rder {order['id']}"
    eventually(lambda: any("rated" in message for message in messages("Bo")), "the provider is told of the rating")
    # A plan, and three of its steps that are Dee's to know of or made so by another's end.
    eventually(lambda: any("step 4 is complete" in message for message in messages("Dee")), "Dee is told of step 4")
    ada = eventually(
        lambda: messages("Ada"), "the customer is told of all that happened", holds=lambda said: len(said) >= 10
    )
    assert sum("has a new plan" in message for message in ada) == 1
    for number in (1, 2, 3, 4):
        assert sum(f"step {number} is complete" in message for message in ada) == 1
    assert sum("was taken" in message for message in ada) == 1
    assert all(about in message for message in messages("Dee"))
    assert len(set(messages("Bo"))) == len(messages("Bo"))


def test_nothing_is_left_to_send_and_the_ledger_adds_up(told: list[str], all_stores: Stores) -> None:
    def waiting() -> int:
        rows = sum(
            len(all_stores.rows(database, "SELECT id FROM outbox WHERE published_at IS NULL")) for database in OUTBOXES
        )
        documents = sum(
            len(all_stores.documents(name, {"outbox.0": {"$exists": True}}))
            for name in ("projects", "ratings", "reviews", "blogs", "faqs", "bookkeeping")
        )
        nodes = all_stores.graph("MATCH (o:Outbox) RETURN count(o) AS waiting")
        return rows + documents + int(nodes[0]["waiting"])

    eventually(waiting, "every outbox is empty", holds=lambda left: left == 0)
    ledger_holds(all_stores)
