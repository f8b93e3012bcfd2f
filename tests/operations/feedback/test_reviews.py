"""Reviews, as their operations write and show them, on real stores."""

from functools import partial

import pytest

from tests.support.calling import As, Response, nobody
from tests.support.market import member, order_in, service_of
from tests.support.queues import drain
from tests.support.racing import at_once, workers
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)


def write(caller: As, service_id: int, review: str = "Neat hedges.", key: str | None = None) -> Response:
    """One call, for races too."""
    return caller.call("write_review", {"service_id": service_id, "review": review}, key=key)


def bought(customer: As = ada, seller: As = bob, status: str = "completed") -> int:
    """The id of a service that the customer has an order of."""
    service = service_of(seller)
    order_in(status, customer, seller, service_id=service)
    return service


def told(stores: Stores) -> list[tuple[int, str]]:
    """Who has been told what of reviews."""
    drain()
    rows = stores.rows("itlc_orders", "SELECT user_id, message FROM notifications WHERE message LIKE '%review%'")
    return [(row["user_id"], row["message"]) for row in rows]


def test_who_bought_a_service_reviews_it(stores: Stores) -> None:
    customer, seller = member("Ada"), member("Bob")
    service = bought(customer, seller)
    written = write(customer, service)
    assert (written.status, "Location" in written.headers) == (201, False)
    assert written.json == {
        "id": written["id"],
        "service_id": service,
        "review": "Neat hedges.",
        "created_at": written["created_at"],
        "updated_at": written["created_at"],
    }
    (document,) = stores.documents("reviews")
    assert (document["review"], document["service_id"], document["user_id"]) == (
        "Neat hedges.",
        service,
        customer.user_id,
    )
    assert document["outbox"] == []
    assert told(stores) == [(seller.user_id, "Your service Gardening has a new review.")]
    assert nobody.call("list_service_reviews", service_id=service)["items"] == [written.json]


@pytest.mark.parametrize(
    ("status", "answer"),
    [("created", 403), ("in_progress", 403), ("cancelled", 403), ("completed", 201), ("paid", 201), ("refunded", 201)],
)
def test_bought_is_what_was_completed(stores: Stores, status: str, answer: int) -> None:
    assert write(ada, bought(status=status)).status == answer
    assert len(stores.documents("reviews")) == (answer == 201)


def test_others_do_not_review(stores: Stores) -> None:
    service = bought()
    for caller, status in [(bob, 403), (eve, 403), (root, 403), (nobody, 401)]:
        assert write(caller, service).status == status
    response = write(ada, 999)
    assert (response.status, response["errors"][0]["field"]) == (422, "service_id")
    assert ada.call("write_review", {"service_id": service}).status == 422
    assert write(ada, service, " ").status == 422
    assert stores.documents("reviews") == []


def test_a_withdrawn_service_is_reviewed_too(stores: Stores) -> None:
    service = bought()
    assert bob.call("withdraw_service", service_id=service).status == 204
    assert write(ada, service).status == 201
    assert len(nobody.call("list_service_reviews", service_id=service)["items"]) == 1
    assert nobody.call("list_service_reviews", service_id=999).status == 404


def test_a_repeated_key_makes_one_review_and_one_notice(stores: Stores) -> None:
    customer, seller = member("Ada"), member("Bob")
    service = bought(customer, seller)
    answers = at_once(write, [(customer, service, "Neat.", "k")] * workers())
    assert ({answer.status for answer in answers}, len({answer.text for answer in answers})) == ({201}, 1)
    again = write(customer, service, "Neat.", key="k")
    assert (again.text, again.headers["Idempotency-Replayed"]) == (answers[0].text, "true")
    assert write(customer, service, "Other.", key="k").status == 422
    assert len(stores.documents("reviews")) == 1
    assert len(told(stores)) == 1


def test_the_author_changes_it_and_nobody_else(stores: Stores) -> None:
    written = write(ada, bought())
    change = partial(ada.call, "change_review", review_id=written["id"])
    changed = change({"review": "Very neat."}, headers={"if-match": written.headers["ETag"]})
    assert (changed.status, changed["review"]) == (200, "Very neat.")
    assert change({"review": "Meh."}, headers={"if-match": written.headers["ETag"]}).status == 412
    assert change({}).json == changed.json
    assert change({"service_id": 2}).status == 422
    for caller, status in [(bob, 403), (root, 403), (nobody, 401)]:
        assert caller.call("change_review", {"review": "Bad."}, review_id=written["id"]).status == status
    assert ada.call("change_review", {"review": "x"}, review_id="665f1f77bcf86cd799439011").status == 404
    assert stores.documents("reviews")[0]["review"] == "Very neat."


@pytest.mark.parametrize("caller", [ada, root], ids=["author", "administrator"])
def test_the_author_or_an_administrator_deletes_it(stores: Stores, caller: As) -> None:
    written = write(ada, bought())
    review = written["id"]
    for stranger, status in [(bob, 403), (nobody, 401)]:
        assert stranger.call("delete_review", review_id=review).status == status
    assert ada.call("delete_review", headers={"if-match": '"other"'}, review_id=review).status == 412
    assert caller.call("delete_review", review_id=review).status == 204
    assert caller.call("delete_review", review_id=review).status == 404
    assert stores.documents("reviews") == []


def test_pages_are_stable_while_more_is_written(stores: Stores) -> None:
    service = bought()
    ids = [write(ada, service, f"Review {n}")["id"] for n in range(5)][::-1]
    seen: list[str] = []
    for page in nobody.pages("list_service_reviews", query={"limit": 2}, service_id=service):
        seen += [item["id"] for item in page]
        write(ada, service, "Later.")
    assert seen == ids
