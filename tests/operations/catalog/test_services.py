"""Putting services on the market, as its operations do it, on real stores."""

import pytest

from tests.support.calling import As, nobody
from tests.support.stack import Stores

SERVICE = {"name": "Gardening", "description": "Hedges, lawns, roses."}
ada, bob = As(1), As(2)


@pytest.fixture
def ada_provides(stores: Stores) -> int:
    """Ada is a provider."""
    from itlc.catalog import repository
    from itlc.stores import postgres

    row = postgres.catalog.write(lambda db: repository.add_provider(db, user_id=1, name="Ada", email="ada@example.org"))
    return int(row.id)


def test_a_provider_publishes_a_service(ada_provides: int, stores: Stores) -> None:
    response = ada.call("publish_service", SERVICE)
    assert response.status == 201
    assert response.headers["Location"] == f"services/{response['id']}"
    assert response["provider_id"] == ada_provides
    (row,) = stores.rows("itlc_api", "SELECT * FROM services")
    assert (row["name"], row["description"], row["status"]) == ("Gardening", "Hedges, lawns, roses.", "offered")
    assert nobody.call("list_services")["items"] == [response.json]


def test_only_providers_publish(ada_provides: int, stores: Stores) -> None:
    response = bob.call("publish_service", SERVICE)
    assert (response.status, response["status"]) == (403, 403)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert nobody.call("publish_service", SERVICE).status == 401
    assert stores.rows("itlc_api", "SELECT * FROM services") == []


def test_a_repeated_key_gets_the_first_answer_and_makes_no_second_service(ada_provides: int, stores: Stores) -> None:
    first = ada.call("publish_service", SERVICE, key="k1")
    again = ada.call("publish_service", SERVICE, key="k1")
    assert again.text == first.text
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ada.call("publish_service", {**SERVICE, "name": "Other"}, key="k1").status == 422
    assert len(stores.rows("itlc_api", "SELECT * FROM services")) == 1


def test_a_change_needs_the_version_it_was_made_from(ada_provides: int) -> None:
    published = ada.call("publish_service", SERVICE)
    tag = published.headers["ETag"]
    changed = ada.call("change_service", {"name": "Gardens"}, headers={"if-match": tag}, service_id=published["id"])
    assert (changed.status, changed["name"]) == (200, "Gardens")
    stale = ada.call("change_service", {"name": "Garden"}, headers={"if-match": tag}, service_id=published["id"])
    assert stale.status == 412
    assert bob.call("change_service", {"name": "Mine"}, service_id=published["id"]).status == 403


@pytest.mark.parametrize(
    ("raw", "status"),
    [("{", 400), ("[]", 422), ('{"name": "x"}', 422), ('{"name": 3, "description": "y"}', 422), ("[" * 50, 422)],
)
def test_bad_bodies_are_refused_and_change_nothing(ada_provides: int, stores: Stores, raw: str, status: int) -> None:
    assert ada.call("publish_service", raw=raw).status == status
    assert stores.rows("itlc_api", "SELECT * FROM services") == []


@pytest.mark.parametrize(
    "asked",
    [
        *("gärtner", "GARTNER", "cafe", "Café", "and", "or", "and/or", "hedge", "hedge-cutting", "brien", "O'Brien"),
        *("example", "ada@example.org", "baz", "https://foo.bar/baz", "12", "12.5", "11", "2026-11", "naive", "C++"),
        *("日本語", "qux", "foo_qux", "100%", "6f1e", "hedge gartner 100", "x\\y"),
    ],
)
def test_a_service_is_found_by_any_of_its_words(ada_provides: int, asked: str) -> None:
    """PostgreSQL's own parser would keep paths, addresses and signed numbers in one piece."""
    text = (
        "and/or hedge-cutting O'Brien ada@example.org https://foo.bar/baz 12.5 2026-11 naïve 日本語 C++ foo_qux 100% "
    )
    text += "0190f5a8-6f1e-7cc4 x\\y"
    service = ada.call("publish_service", {"name": "Gärtner Café", "description": text})
    ada.call("publish_service", SERVICE)
    found = nobody.call("list_services", query={"q": asked})
    assert [item["id"] for item in found["items"]] == [service["id"]]


@pytest.mark.parametrize(
    "asked", ["hedges & roses", "roses | tulips", "!roses", "ros:*", "'", "\\", "%", "...", "(", "😀"]
)
def test_what_is_asked_for_is_words_and_no_query_language(ada_provides: int, asked: str) -> None:
    service = ada.call("publish_service", SERVICE)
    found = nobody.call("list_services", query={"q": asked})
    assert found.status == 200
    expected = [service["id"]] if asked in ("hedges & roses", "!roses") else []
    assert [item["id"] for item in found["items"]] == expected


def test_pages_follow_each_other(ada_provides: int) -> None:
    ids = [ada.call("publish_service", SERVICE)["id"] for _ in range(5)]
    pages = list(nobody.pages("list_services", query={"limit": 2}))
    assert [[item["id"] for item in page] for page in pages] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    first = nobody.call("list_services", query={"limit": 2})
    assert nobody.call("list_services", query={"cursor": first["next_cursor"], "q": "roses"}).status == 422
