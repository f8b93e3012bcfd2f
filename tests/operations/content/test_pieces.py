"""Blogs and FAQs, which behave alike in all but their fields, on real stores."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.calling import As, Response, nobody
from tests.support.market import provider_of
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


@dataclass(frozen=True)
class Kind:
    """The one or the other: its name in the operations, its collection, its two fields and their longest texts."""

    name: str
    collection: str
    first: str
    second: str
    longest: tuple[int, int]

    def piece(self, first: str = "Roses", second: str = "How to prune them.") -> dict[str, Any]:
        """A body to write."""
        return {self.first: first, self.second: second}

    def id(self, piece_id: str) -> dict[str, Any]:
        """The path's id."""
        return {f"{self.name}_id": piece_id}

    def write(self, caller: As, body: dict[str, Any] | None = None, key: str | None = None) -> Response:
        """Publish one."""
        return caller.call(f"write_{self.name}", body or self.piece(), key=key)

    def change(self, caller: As, piece_id: str, body: dict[str, Any], if_match: str | None = None) -> Response:
        """Change one."""
        headers = {"if-match": if_match} if if_match else None
        return caller.call(f"change_{self.name}", body, headers=headers, **self.id(piece_id))

    def read(self, piece_id: str) -> Response:
        """Read one, as anybody may."""
        return nobody.call(f"read_{self.name}", **self.id(piece_id))

    def delete(self, caller: As, piece_id: str, if_match: str | None = None) -> Response:
        """Delete one."""
        headers = {"if-match": if_match} if if_match else None
        return caller.call(f"delete_{self.name}", headers=headers, **self.id(piece_id))

    def found(self, **query: Any) -> list[str]:
        """The ids that the public list finds."""
        return [item["id"] for item in nobody.call(f"list_{self.collection}", query=query)["items"]]


BLOG = Kind("blog", "blogs", "title", "content", (200, 100_000))
FAQ = Kind("faq", "faqs", "question", "answer", (10_000, 10_000))


@pytest.fixture(params=[BLOG, FAQ], ids=lambda kind: str(kind.name))
def kind(request: pytest.FixtureRequest, stores: Stores) -> Kind:
    """Each of the two, in empty stores where Ada and Bob are providers."""
    provider_of(ada)
    provider_of(bob)
    chosen: Kind = request.param
    return chosen


def test_a_provider_writes_for_all_to_read(kind: Kind, stores: Stores) -> None:
    written = kind.write(ada)
    assert written.status == 201
    assert written.headers["Location"] == f"{kind.collection}/{written['id']}"
    assert written.json == {
        "id": written["id"],
        **kind.piece(),
        "author": "Provider 1",
        "provider_id": 1,
        "created_at": written["created_at"],
        "updated_at": written["created_at"],
    }
    read = kind.read(written["id"])
    assert (read.status, read.json, read.headers["ETag"]) == (200, written.json, written.headers["ETag"])
    (document,) = stores.documents(kind.collection)
    assert (document["author"], document["provider_id"], document["user_id"]) == ("Provider 1", 1, 1)
    assert (document[kind.first], document[kind.second]) == ("Roses", "How to prune them.")


def test_only_providers_write(kind: Kind, stores: Stores) -> None:
    assert kind.write(eve).status == 403
    assert kind.write(root).status == 403, "an administrator needs a profile too"
    assert kind.write(nobody).status == 401
    assert stores.documents(kind.collection) == []


def test_bad_pieces_are_refused(kind: Kind, stores: Stores) -> None:
    for body, field in [
        ({kind.first: "Roses"}, kind.second),
        ({kind.second: "How to."}, kind.first),
        (kind.piece(" ", "x"), kind.first),
        (kind.piece("x" * (kind.longest[0] + 1)), kind.first),
        (kind.piece("x", "y" * (kind.longest[1] + 1)), kind.second),
        ({**kind.piece(), "author": "Ada"}, "author"),
    ]:
        response = kind.write(ada, body)
        assert (response.status, [error["field"] for error in response["errors"]]) == (422, [field])
    assert kind.write(ada, kind.piece("x" * kind.longest[0], "y" * kind.longest[1])).status == 201
    assert len(stores.documents(kind.collection)) == 1


def test_a_repeated_key_gets_the_first_answer(kind: Kind, stores: Stores) -> None:
    first = kind.write(ada, key="k")
    again = kind.write(ada, key="k")
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert kind.write(ada, kind.piece("Tulips"), key="k").status == 422
    assert len(stores.documents(kind.collection)) == 1


def test_the_same_key_at_once_makes_one(kind: Kind, stores: Stores) -> None:
    answers = at_once(kind.write, [(ada, kind.piece(), "k")] * workers())
    assert ({answer.status for answer in answers}, len({answer.text for answer in answers})) == ({201}, 1)
    assert len(stores.documents(kind.collection)) == 1


def test_the_author_changes_any_of_the_fields(kind: Kind) -> None:
    piece = kind.write(ada)["id"]
    changed = kind.change(ada, piece, {kind.first: "Tulips"})
    assert (changed.status, changed[kind.first], changed[kind.second]) == (200, "Tulips", "How to prune them.")
    assert changed["updated_at"] >= changed["created_at"]
    assert kind.change(ada, piece, {}).json == changed.json
    assert kind.found(q="tulips prune") == [piece]
    assert kind.found(q="roses") == []
    assert kind.change(ada, piece, {"author": "Eve"}).status == 422
    assert kind.change(root, piece, {kind.second: "Water them."})["author"] == "Provider 1"


def test_what_is_anothers_stays(kind: Kind, stores: Stores) -> None:
    piece = kind.write(ada)["id"]
    for stranger, status in [(bob, 403), (eve, 403), (nobody, 401)]:
        assert kind.change(stranger, piece, {kind.first: "Mine"}).status == status
        assert kind.delete(stranger, piece).status == status
    assert kind.read(piece)[kind.first] == "Roses"
    assert kind.delete(root, piece).status == 204


def test_what_is_not_there_is_not_found(kind: Kind) -> None:
    piece = kind.write(ada)["id"]
    assert kind.delete(ada, piece).status == 204
    for absent in (piece, "1", "665F1F77BCF86CD799439011", "\0"):
        assert kind.read(absent).status == 404
        assert kind.change(ada, absent, {kind.first: "x"}).status == 404
        assert kind.delete(ada, absent).status == 404
    assert kind.found() == []


def test_changes_need_the_version_they_were_made_from(kind: Kind) -> None:
    written = kind.write(ada)
    piece, tag = written["id"], written.headers["ETag"]
    assert kind.change(ada, piece, {kind.first: "Tulips"}, tag).status == 200
    assert kind.change(ada, piece, {kind.first: "Asters"}, tag).status == 412
    assert kind.delete(ada, piece, tag).status == 412
    assert kind.delete(ada, piece, kind.read(piece).headers["ETag"]).status == 204


def test_of_changes_at_once_none_is_lost(kind: Kind, stores: Stores) -> None:
    piece = kind.write(ada)["id"]
    halves = [{kind.first: "Tulips"}, {kind.second: "Water them."}]
    answers = at_once(kind.change, [(ada, piece, halves[n % 2]) for n in range(workers())])
    assert {answer.status for answer in answers} == {200}
    (document,) = stores.documents(kind.collection)
    assert document["words"] == ["tulips", "water", "them"]


def test_the_list_finds_by_provider_and_words(kind: Kind) -> None:
    cafe = kind.write(ada, kind.piece("Café au lait", "Hot milk."))["id"]
    other = kind.write(bob, kind.piece("Tea", "In a CAFE.\nWith milk."))["id"]
    assert kind.found() == [other, cafe]
    assert kind.found(provider_id=1) == [cafe]
    assert kind.found(provider_id=99) == []
    assert kind.found(q="cafe") == kind.found(q="CAFÉ milk") == [other, cafe]
    assert kind.found(q="milk", provider_id=2) == [other]
    assert kind.found(q="hot tea") == kind.found(q="...") == []
    for query in ({"provider_id": 0}, {"provider_id": "x"}, {"author": "Ada"}):
        assert nobody.call(f"list_{kind.collection}", query=query).status == 422


def test_pages_are_stable_while_more_is_written(kind: Kind, stores: Stores) -> None:
    ids = [kind.write(ada)["id"] for _ in range(7)][::-1]
    same_moment = {"$set": {"created_at": stores.documents(kind.collection)[0]["created_at"]}}
    stores.mongo["itlc_pbfr"][kind.collection].update_many({}, same_moment)
    seen: list[str] = []
    for page in nobody.pages(f"list_{kind.collection}", query={"limit": 3}):
        seen += [item["id"] for item in page]
        kind.write(ada)
    assert seen == ids


def test_a_page_of_long_blogs_ends_early_and_the_next_goes_on(stores: Stores) -> None:
    provider_of(ada)
    ids = [BLOG.write(ada, BLOG.piece(f"Blog {n}", "x" * 100_000))["id"] for n in range(15)][::-1]
    pages = list(nobody.pages("list_blogs", query={"limit": 100}))
    assert [item["id"] for page in pages for item in page] == ids
    assert len(pages) == 2
