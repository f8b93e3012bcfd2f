"""Becoming a provider, and what providers say of themselves, through the operations on real stores."""

from collections import Counter

from tests.support.calling import As, nobody
from tests.support.people import email_of, person, provider
from tests.support.racing import at_once, workers
from tests.support.stack import Stores


def test_a_user_becomes_a_provider_under_their_own_address(stores: Stores) -> None:
    ada = person("Ada")
    response = ada.call("become_provider", {"name": "Ada's gardens"})
    assert response.status == 201
    assert response.headers["Location"] == f"providers/{response['id']}"
    assert set(response.json) == {"id", "name", "email", "created_at", "updated_at"}
    assert (response["name"], response["email"]) == ("Ada's gardens", email_of("Ada"))
    (row,) = stores.rows("itlc_api", "SELECT * FROM providers")
    assert (row["id"], row["user_id"]) == (response["id"], ada.user_id)
    read = nobody.call("read_provider", provider_id=response["id"])
    assert (read.status, read.json) == (200, response.json)
    assert read.headers["ETag"] == response.headers["ETag"]


def test_an_address_of_its_own_is_kept(stores: Stores) -> None:
    response = person("Ada").call("become_provider", {"name": "Ada", "email": "gardens@example.org"})
    assert (response.status, response["email"]) == (201, "gardens@example.org")


def test_a_user_has_one_profile_and_a_profile_one_address(stores: Stores) -> None:
    ada, bob = person("Ada"), person("Bob")
    assert ada.call("become_provider", {"name": "Ada", "email": "x@example.org"}).status == 201
    assert ada.call("become_provider", {"name": "Ada again", "email": "y@example.org"}).status == 409
    assert bob.call("become_provider", {"name": "Bob", "email": "X@example.org"}).status == 409
    assert len(stores.rows("itlc_api", "SELECT * FROM providers")) == 1


def test_of_many_requests_at_once_one_makes_the_profile(stores: Stores) -> None:
    ada = person("Ada")
    answers = at_once(ada.call, [("become_provider", {"name": "Ada"})] * workers())
    assert Counter(answer.status for answer in answers) == {201: 1, 409: workers() - 1}


def test_the_key_gives_the_same_profile_again(stores: Stores) -> None:
    ada = person("Ada")
    first = ada.call("become_provider", {"name": "Ada"}, key="k")
    again = ada.call("become_provider", {"name": "Ada"}, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert again.headers["Location"] == first.headers["Location"]
    assert ada.call("become_provider", {"name": "Eve"}, key="k").status == 422


def test_bad_profiles_are_refused(stores: Stores) -> None:
    ada = person("Ada")
    assert nobody.call("become_provider", {"name": "Ada"}).status == 401
    assert As(4711).call("become_provider", {"name": "Nobody"}).status == 401
    for body in ({}, {"name": ""}, {"name": "A", "email": "no"}, {"name": "A", "user_id": 1}):
        assert ada.call("become_provider", body).status == 422
    assert stores.rows("itlc_api", "SELECT * FROM providers") == []


def test_only_the_provider_changes_the_profile(stores: Stores) -> None:
    grace, grace_id = provider("Grace")
    ada, _ = provider("Ada")
    changed = grace.call("change_provider", {"name": "Grace H."}, provider_id=grace_id)
    assert (changed.status, changed["name"], changed["email"]) == (200, "Grace H.", email_of("Grace"))
    assert nobody.call("read_provider", provider_id=grace_id).json == changed.json
    assert grace.call("change_provider", {}, provider_id=grace_id).json == changed.json
    assert ada.call("change_provider", {"name": "Mine"}, provider_id=grace_id).status == 403
    assert nobody.call("change_provider", {"name": "Mine"}, provider_id=grace_id).status == 401
    assert grace.call("change_provider", {"email": email_of("Ada").upper()}, provider_id=grace_id).status == 409
    assert grace.call("change_provider", {"id": 5}, provider_id=grace_id).status == 422
    assert grace.call("change_provider", {"name": "Grace"}, provider_id=99).status == 404
    old = {"If-Match": '"another"'}
    assert grace.call("change_provider", {"name": "Grace"}, headers=old, provider_id=grace_id).status == 412
    assert stores.rows("itlc_api", "SELECT * FROM audit") == []


def test_an_administrators_change_of_anothers_profile_is_on_record(stores: Stores) -> None:
    _, grace_id = provider("Grace")
    eve = person("Eve", admin=True)
    assert eve.call("change_provider", {"name": "G."}, provider_id=grace_id).status == 200
    (entry,) = stores.rows("itlc_api", "SELECT * FROM audit")
    assert (entry["actor_id"], entry["action"], entry["object"], entry["after"]) == (
        eve.user_id,
        "change_provider",
        f"provider:{grace_id}",
        {"changed": ["name"]},
    )


def test_providers_are_listed_newest_first_and_found_by_words(stores: Stores) -> None:
    ids = [provider(name)[1] for name in ("Ada Lovelace", "Grace Hopper", "Ada Yonath")]
    pages = list(nobody.pages("list_providers", query={"limit": 2}))
    assert [[item["id"] for item in page] for page in pages] == [[ids[2], ids[1]], [ids[0]]]
    found = nobody.call("list_providers", query={"q": "ADA"})
    assert [item["id"] for item in found["items"]] == [ids[2], ids[0]]
    assert nobody.call("list_providers", query={"q": "ada hopper"})["items"] == []
    lukacs = provider("Lukács/Sons")[1]
    for asked in ("lukacs", "SONS", "sons, lukács"):
        found = nobody.call("list_providers", query={"q": asked})
        assert [item["id"] for item in found["items"]] == [lukacs]
    assert nobody.call("list_providers", query={"name": "Ada"}).status == 422
    assert nobody.call("read_provider", provider_id=99).status == 404
    assert nobody.call("read_provider", provider_id="ada").status == 404
