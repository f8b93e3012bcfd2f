"""Ratings of orders and reviews of services: who may give them, and who is told."""

from typing import TYPE_CHECKING

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from itlc.access import Caller
from itlc.audit_events import if_privileged
from itlc.errors import Conflict, Forbidden
from itlc.events import Event, event
from itlc.feedback import repository
from itlc.feedback.model import RATABLE, average
from itlc.feedback.schemas import ChangeReview, PublicRating, RateOrder, RatingView, ReviewView, WriteReview
from itlc.notices import notice
from itlc.paging import Found, PageQuery
from itlc.preconditions import IfMatch
from itlc.stores.mongo import Change, Document, DocumentWriter, object_id

if TYPE_CHECKING:  # they come with PostgreSQL's driver, which changing a review does not need
    from itlc.catalog.service import OfferedService
    from itlc.orders.service import OrderFacts


def rate_order(
    db: DocumentWriter, order: "OrderFacts", request: RateOrder, *, caller: Caller, if_match: IfMatch
) -> RatingView:
    """The order's rating, new or instead of the earlier one; its provider is told, unless it says what it said before.

    Raises NotFound for whoever may not see the order, Forbidden for whoever may but is not its customer (an
    administrator too), Conflict while the order is not completed, PreconditionFailed.
    """
    caller.must_see("order", order.user_id, order.provider_user_id)
    if caller.id != order.user_id:
        raise Forbidden("Only the order's customer rates it.")
    if order.status not in RATABLE:
        raise Conflict(f"This order is {order.status}: it can be rated once it is completed.")
    given = {"rating": request.rating, "review": request.review}

    def replace(rating: Document) -> Change:
        if_match.check(rating_view(rating))
        if all(rating[field] == value for field, value in given.items()):
            return Change()
        # The user too, who is not on it any more where they rate on while they are being erased.
        return Change(
            {**given, "user_id": caller.id}, _rated(order, request, version=rating["version"] + 1, actor=caller)
        )

    if repository.rating_of_order(db.documents, order.id) is None:
        if_match.check(None)
        rating = {"order_id": order.id, "service_id": order.service_id, "user_id": caller.id, **given}
        try:
            return db.create(rating, rating_view, *_rated(order, request, version=1, actor=caller))
        except DuplicateKeyError:
            pass  # the customer's other request was faster: this one replaces what it said
    return rating_view(db.change({"order_id": order.id}, "rating", replace))


def list_service_ratings(db: "Collection[Document]", service_id: int, query: PageQuery) -> Found[PublicRating]:
    """A page of a service's ratings, newest first, with `average`, `count` and `distribution` of all of them."""
    times = repository.distribution(db, service_id)
    extra = {
        "average": average(times),
        "count": sum(times.values()),
        "distribution": {str(mark): n for mark, n in times.items()},
    }
    found = repository.find_of_service(db, service_id, query).map(_public_rating)
    return Found(found.items, found.next, extra)


def write_review(
    db: DocumentWriter, request: WriteReview, service: "OfferedService", *, bought: bool, caller: Caller
) -> ReviewView:
    """The caller's new review; the service's provider is told. Raises Forbidden unless the caller `bought` it."""
    if not bought:
        raise Forbidden("Only who bought this service may review it: once an order of it is completed.")
    told = notice(
        f"service:{service.id}",
        f"Your service {service.name} has a new review.",
        users=[service.provider_user_id],
        actor_id=caller.id,
    )
    return db.create({**request.model_dump(), "user_id": caller.id}, review_view, told)


def change_review(
    db: DocumentWriter, review_id: str, request: ChangeReview, *, caller: Caller, if_match: IfMatch
) -> ReviewView:
    """The review after the change. Raises NotFound, Forbidden when it is another's (for an administrator too),
    PreconditionFailed."""

    def decide(review: Document) -> Change:
        if caller.id != review["user_id"]:
            raise Forbidden("This review belongs to somebody else.")
        if_match.check(review_view(review))
        return Change(request.model_dump(exclude_unset=True))

    return review_view(db.change({"_id": object_id(review_id)}, "review", decide))


def delete_review(db: DocumentWriter, review_id: str, *, caller: Caller, if_match: IfMatch) -> None:
    """Delete a review, one's own or as an administrator. Raises NotFound, Forbidden, PreconditionFailed."""

    def allow(review: Document) -> tuple[Event, ...]:
        caller.must_own("review", review["user_id"])
        if_match.check(review_view(review))
        was = {"user_id": review["user_id"], "service_id": review["service_id"]}
        return if_privileged(caller, review["user_id"], "delete_review", f"review:{review_id}", before=was)

    db.remove({"_id": object_id(review_id)}, "review", allow)


def list_service_reviews(db: "Collection[Document]", service_id: int, query: PageQuery) -> Found[ReviewView]:
    """A page of a service's reviews, newest first."""
    return repository.find_of_service(db, service_id, query).map(review_view)


def rating_view(document: Document) -> RatingView:
    """A rating's document as its customer gets it."""
    return RatingView.model_validate({**document, "id": str(document["_id"])})


def review_view(document: Document) -> ReviewView:
    """A review's document as it is answered."""
    return ReviewView.model_validate({**document, "id": str(document["_id"])})


def _public_rating(document: Document) -> PublicRating:
    return PublicRating.model_validate({**document, "id": str(document["_id"])})


def _rated(order: "OrderFacts", request: RateOrder, *, version: int, actor: Caller) -> tuple[Event, Event]:
    """What a rating sets in motion: the service's average follows, the provider is told."""
    about = f"order:{order.id}"
    payload = {"order_id": order.id, "service_id": order.service_id, "rating": request.rating, "version": version}
    message = f"Order {order.id} was rated {request.rating} of 5."
    if version > 1:
        message = f"The rating of order {order.id} was changed to {request.rating} of 5."
    return (
        event("ratings", "rated", about, payload, version=version),
        notice(about, message, users=[order.provider_user_id], actor_id=actor.id),
    )
