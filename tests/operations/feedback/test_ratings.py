"""Ratings, as their operations give and show them, on real stores."""

from typing import Any

import pytest
from itlc.access import Caller
from itlc.feedback import repository, service
from itlc.feedback.schemas import RateOrder
from itlc.orders.service import order_for
from itlc.preconditions import IfMatch
from itlc.stores import mongo

from tests.support.calling import As, Response, nobody
from tests.support.market import member, order_in, service_of
from tests.support.queues import drain
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


def rate(caller: As, order_id: int, rating: Any, review: str | None = None, if_match: str | None = None) -> Response:
    """One call, for races too."""
    body = {"rating": rating, **({"review": review} if review else {})}
    return caller.call("rate_order", body, headers={"if-match": if_match} if if_match else None, order_id=order_id)


def told(stores: Stores) -> list[tuple[int, str]]:
    """Who has been told what of ratings."""
    drain()
    query = "SELECT user_id, message FROM notifications WHERE message LIKE '%rat%' ORDER BY id"
    return [(row["user_id"], row["message"]) for row in stores.rows("itlc_orders", query)]


def test_the_customer_rates_a_completed_order(stores: Stores) -> None:
    customer, seller = member("Ada"), member("Bob")
    order = order_in("completed", customer, seller)
    service = customer.call("read_order", order_id=order)["service_id"]
    response = rate(customer, order, 4, "Neat hedges.")
    assert response.status == 200
    assert response.json == {
        "id": response["id"],
        "order_id": order,
        "service_id": service,
        "rating": 4,
        "review": "Neat hedges.",
        "created_at": response["created_at"],
        "updated_at": response["created_at"],
    }
    (document,) = stores.documents("ratings")
    assert (document["rating"], document["review"], document["user_id"]) == (4, "Neat hedges.", customer.user_id)
    assert document["outbox"] == [], "the events were sent at once"
    assert told(stores) == [(seller.user_id, f"Order {order} was rated 4 of 5.")]
    assert nobody.call("read_service", service_id=service)["rating"] == {"average": 4.0, "count": 1}


def test_another_rating_replaces_the_first_and_the_same_changes_nothing(stores: Stores) -> None:
    customer, seller = member("Ada"), member("Bob")
    order = order_in("paid", customer, seller)
    first = rate(customer, order, 4, "Neat hedges.")
    assert rate(customer, order, 4, "Neat hedges.").json == first.json
    second = rate(customer, order, 2)
    assert (second.status, second["id"], second["rating"], second["review"]) == (200, first["id"], 2, None)
    assert second["created_at"] == first["created_at"] <= second["updated_at"]
    (document,) = stores.documents("ratings")
    assert (document["rating"], document["review"], document["version"]) == (2, None, 2)
    assert told(stores) == [
        (seller.user_id, f"Order {order} was rated 4 of 5."),
        (seller.user_id, f"The rating of order {order} was changed to 2 of 5."),
    ]
    assert nobody.call("read_service", service_id=first["service_id"])["rating"] == {"average": 2.0, "count": 1}


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("created", 409),
        ("in_progress", 409),
        ("cancelled", 409),
        ("completed", 200),
        ("paying", 200),
        ("refunded", 200),
    ],
)
def test_an_order_is_rated_once_it_is_completed(stores: Stores, status: str, answer: int) -> None:
    assert rate(ada, order_in(status, ada, bob), 5).status == answer
    assert len(stores.documents("ratings")) == (answer == 200)


def test_only_the_customer_rates(stores: Stores) -> None:
    order = order_in("completed", ada, bob)
    for caller, status in [(bob, 403), (root, 403), (eve, 404), (nobody, 401)]:
        assert rate(caller, order, 1).status == status
    assert rate(ada, 999, 5).status == 404
    assert stores.documents("ratings") == []


@pytest.mark.parametrize("rating", [0, 6, 4.5, 4.0, "4", True, None])
def test_a_rating_is_one_of_five_whole_numbers(stores: Stores, rating: Any) -> None:
    order = order_in("completed", ada, bob)
    response = rate(ada, order, rating)
    assert (response.status, response["errors"][0]["field"]) == (422, "rating")
    assert ada.call("rate_order", {"review": "Good."}, order_id=order).status == 422
    assert ada.call("rate_order", {"rating": 5, "stars": 5}, order_id=order).status == 422
    assert stores.documents("ratings") == []


def test_a_rating_needs_the_version_it_was_made_from(stores: Stores) -> None:
    order = order_in("completed", ada, bob)
    assert rate(ada, order, 5, if_match="*").status == 412, "there is none yet"
    tag = rate(ada, order, 5).headers["ETag"]
    assert rate(ada, order, 4, if_match=tag).status == 200
    assert rate(ada, order, 3, if_match=tag).status == 412
    assert stores.documents("ratings")[0]["rating"] == 4


def test_ratings_at_once_leave_one_and_the_average_follows_the_last(stores: Stores) -> None:
    customer, seller = member("Ada"), member("Bob")
    order = order_in("completed", customer, seller)
    answers = at_once(rate, [(customer, order, 1 + n % 5) for n in range(workers())])
    assert {answer.status for answer in answers} == {200}
    assert len({answer["id"] for answer in answers}) == 1
    (document,) = stores.documents("ratings")
    drain()
    service = nobody.call("read_service", service_id=document["service_id"])
    assert service["rating"] == {"average": float(document["rating"]), "count": 1}


def test_a_first_rating_that_another_overtakes_replaces_it(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    order = order_in("completed", ada, bob)
    look = repository.rating_of_order

    def look_and_be_overtaken(db: Any, order_id: int) -> Any:
        found = look(db, order_id)
        monkeypatch.undo()
        faster = RateOrder(rating=1)
        facts = order_for(order_id)
        mongo.ratings.write(lambda db: service.rate_order(db, facts, faster, caller=Caller(1), if_match=IfMatch(None)))
        return found

    monkeypatch.setattr(repository, "rating_of_order", look_and_be_overtaken)
    assert rate(ada, order, 5).status == 200
    (document,) = stores.documents("ratings")
    assert (document["rating"], document["version"]) == (5, 2)


def test_all_may_see_how_a_service_is_rated_but_not_by_whom(stores: Stores) -> None:
    service = service_of(bob)
    assert nobody.call("list_service_ratings", service_id=service).json == {
        "items": [],
        "next_cursor": None,
        "average": None,
        "count": 0,
        "distribution": {"1": 0, "2": 0, "3": 0, "4": 0, "5": 0},
    }
    given = [
        rate(As(10 + n), order_in("completed", As(10 + n), bob, service_id=service), m, f"No. {n}")
        for n, m in enumerate([5, 4, 5, 1])
    ]
    rate(ada, order_in("completed", ada, bob), 2)
    shown = nobody.call("list_service_ratings", service_id=service)
    fields = ("id", "rating", "review", "created_at", "updated_at")
    assert shown["items"] == [{field: rating[field] for field in fields} for rating in reversed(given)]
    assert (shown["average"], shown["count"]) == (3.75, 4)
    assert shown["distribution"] == {"1": 1, "2": 0, "3": 0, "4": 1, "5": 2}
    assert bob.call("withdraw_service", service_id=service).status == 204
    assert nobody.call("list_service_ratings", service_id=service)["count"] == 4
    assert nobody.call("list_service_ratings", service_id=999).status == 404


def test_every_page_tells_what_all_ratings_come_to(stores: Stores) -> None:
    service = service_of(bob)
    for n in range(5):
        rate(As(10 + n), order_in("completed", As(10 + n), bob, service_id=service), 1 + n)
    pages, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = nobody.call("list_service_ratings", query=query, service_id=service)
        assert (page["average"], page["count"]) == (3.0, 5)
        pages.append([item["rating"] for item in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [[5, 4], [3, 2], [1]]
