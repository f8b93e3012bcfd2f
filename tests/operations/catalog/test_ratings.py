"""How the rating that a service shows follows what customers say, message by message."""

import pytest
from itlc.events import event

from tests.support.calling import deliver, nobody
from tests.support.people import provider
from tests.support.queues import dead_letters
from tests.support.racing import at_once
from tests.support.stack import Stores


@pytest.fixture
def service_id(stores: Stores) -> int:
    """A service on offer."""
    grace, _ = provider("Grace")
    return int(grace.call("publish_service", {"name": "Gardening", "description": "Roses."})["id"])


def rated(service_id: int, order_id: int, rating: int, version: int = 1) -> str:
    """A message: this order's rating is now so."""
    payload = {"order_id": order_id, "service_id": service_id, "rating": rating, "version": version}
    return event("ratings", "rated", f"order:{order_id}", payload, version=version).body()


def shown(service_id: int) -> object:
    """The rating that the service shows."""
    return nobody.call("read_service", service_id=service_id)["rating"]


def test_the_average_follows(service_id: int, stores: Stores) -> None:
    before = nobody.call("read_service", service_id=service_id)
    assert deliver("project_ratings", rated(service_id, 1, 5), rated(service_id, 2, 4), rated(service_id, 3, 4)) == []
    assert shown(service_id) == {"average": 4.33, "count": 3}
    after = nobody.call("read_service", service_id=service_id)
    assert (after["updated_at"], after.headers["ETag"]) == (before["updated_at"], before.headers["ETag"])


def test_a_replaced_rating_counts_once(service_id: int) -> None:
    deliver("project_ratings", rated(service_id, 1, 5), rated(service_id, 2, 5), rated(service_id, 1, 1, version=2))
    assert shown(service_id) == {"average": 3.0, "count": 2}


def test_what_comes_twice_or_late_changes_nothing(service_id: int) -> None:
    first, second = rated(service_id, 1, 2, version=1), rated(service_id, 1, 5, version=2)
    deliver("project_ratings", second, first, second, first)
    assert shown(service_id) == {"average": 5.0, "count": 1}


def test_ratings_at_once_are_all_counted(service_id: int) -> None:
    messages = [("project_ratings", rated(service_id, order_id, 1 + order_id % 5)) for order_id in range(1, 11)]
    assert at_once(deliver, messages) == [[]] * 10
    assert shown(service_id) == {"average": 3.0, "count": 10}


def test_versions_of_one_rating_at_once_count_as_the_newest(service_id: int) -> None:
    versions = [("project_ratings", rated(service_id, 1, 1 + version % 5, version)) for version in range(1, 13)]
    assert at_once(deliver, versions) == [[]] * 12
    assert shown(service_id) == {"average": 3.0, "count": 1}


def test_the_best_rated_are_listed_first(service_id: int) -> None:
    grace, _ = provider("Hedy")
    better = grace.call("publish_service", {"name": "Radio", "description": "Hopping."})["id"]
    newest = grace.call("publish_service", {"name": "Film", "description": "Silent."})["id"]
    deliver("project_ratings", rated(service_id, 1, 3), rated(better, 2, 4))
    pages = list(nobody.pages("list_services", query={"sort": "rating", "limit": 1}))
    assert [page[0]["id"] for page in pages] == [better, service_id, newest]


def test_the_rating_of_an_order_counts_for_one_service_only(service_id: int, stores: Stores) -> None:
    grace, _ = provider("Hedy")
    other = grace.call("publish_service", {"name": "Radio", "description": "Hopping."})["id"]
    assert deliver("project_ratings", rated(service_id, 1, 3), rated(other, 1, 5, version=2)) == []
    (letter,) = dead_letters("ratings")
    assert letter["reason"] == f"order 1 is one of service {service_id}, not {other}"
    assert (shown(service_id), shown(other)) == ({"average": 3.0, "count": 1}, {"average": None, "count": 0})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("rated", {"rating": 6}),
        ("rated", {"rating": "5"}),
        ("rated", {"version": 0}),
        ("rated", {"order_id": None}),
        ("rated", {"more": 1}),
        ("rated", {"service_id": 4711}),
        ("unrated", {}),
    ],
)
def test_what_tells_of_no_rating_is_buried(
    service_id: int, stores: Stores, kind: str, change: dict[str, object]
) -> None:
    payload = {"order_id": 1, "service_id": service_id, "rating": 5, "version": 1, **change}
    good = rated(service_id, 2, 4)
    assert deliver("project_ratings", event("ratings", kind, "order:1", payload).body(), good) == []
    (letter,) = dead_letters("ratings")
    assert letter["reason"]
    assert shown(service_id) == {"average": 4.0, "count": 1}, "nobody behind it is held up"
    assert len(stores.rows("itlc_api", "SELECT * FROM inbox")) == 1
