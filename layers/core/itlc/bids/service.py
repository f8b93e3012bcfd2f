"""What happens to bids: placed, withdrawn, rejected, taken, expired."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.access import Caller
from itlc.bids import model, repository
from itlc.bids.schemas import AnonymousBid, BidView, MyBidQuery, PlaceBid
from itlc.catalog.service import OfferedService
from itlc.errors import Forbidden, NotFound
from itlc.notices import notice
from itlc.orders import closing
from itlc.orders import service as orders
from itlc.orders.schemas import OrderView
from itlc.paging import Found, PageQuery
from itlc.preconditions import IfMatch
from itlc.stores import outbox

EXPIRY_BATCH = 200


def place_bid(db: Connection, request: PlaceBid, *, service: OfferedService, bidder_id: int) -> BidView:
    """The new bid; the provider is told. `service` is on offer and the request's project is the bidder's: the view
    has asked. Raises Conflict when the service is the bidder's own, when one of the two has left, or when the project
    is just being deleted."""
    model.must_not_be_own(bidder_id, service.provider_user_id)
    closing.must_be_open(db, bidder_id, service.provider_user_id)
    closing.project_must_be_open(db, request.project_id)
    row = repository.add_bid(
        db,
        service_id=service.id,
        provider_id=service.provider_id,
        provider_user_id=service.provider_user_id,
        bidder_id=bidder_id,
        **request.model_dump(),
    )
    message = f"New bid of {row.amount:.2f} on your service “{service.name}”."
    outbox.emit(db, notice(f"bid:{row.id}", message, users=[row.provider_user_id], actor_id=bidder_id))
    return view(row)


def list_service_bids(
    db: Connection, service: OfferedService, query: PageQuery, *, caller: Caller
) -> Found[BidView | AnonymousBid]:
    """A page of a service's bids, newest first. The service's provider and an administrator see whose they are, a
    bidder those of their own; the others are anonymous."""

    def as_seen(row: Row[Any]) -> BidView | AnonymousBid:
        if caller.is_one_of(service.provider_user_id, row.bidder_id):
            return view(row)
        return AnonymousBid.model_validate(row)

    return repository.bids_of_service(db, service.id, query).map(as_seen)


def list_my_bids(db: Connection, query: MyBidQuery, *, caller: Caller) -> Found[BidView]:
    """A page of the caller's bids, newest first."""
    return repository.bids_of_bidder(db, caller.id, query).map(view)


def read_bid(db: Connection, bid_id: int, *, caller: Caller) -> BidView:
    """One bid, for its bidder and the service's provider. Raises NotFound."""
    return view(_visible(repository.bid(db, bid_id), caller))


def withdraw_bid(db: Connection, bid_id: int, *, caller: Caller, if_match: IfMatch) -> None:
    """Take back an open bid; the provider is told.

    Raises NotFound when the caller may not see it, Forbidden for the provider, PreconditionFailed, and Conflict when
    it is no longer open.
    """
    row = _visible(repository.bid_for_change(db, bid_id), caller)
    if not caller.is_one_of(row.bidder_id):
        raise Forbidden("Only the bidder withdraws a bid; you can reject it.")
    if_match.check(view(row))
    model.must_be_open(row.status, "withdrawn")
    repository.change_bid(db, bid_id, status="withdrawn")
    _tell(db, row, f"The bid of {row.amount:.2f} on service {row.service_id} was withdrawn.", caller)
    _note_if_privileged(db, caller, row.bidder_id, "withdraw_bid", row, "withdrawn")


def reject_bid(db: Connection, bid_id: int, *, caller: Caller) -> BidView:
    """The bid, rejected; the bidder is told.

    Raises NotFound when the caller may not see it, Forbidden for the bidder, Conflict when it is no longer open.
    """
    row = _visible(repository.bid_for_change(db, bid_id), caller)
    if not caller.is_one_of(row.provider_user_id):
        raise Forbidden("Only the service's provider rejects a bid; you can withdraw it.")
    model.must_be_open(row.status, "rejected")
    changed = repository.change_bid(db, bid_id, status="rejected")
    _tell(db, row, f"The bid of {row.amount:.2f} on service {row.service_id} was rejected.", caller)
    _note_if_privileged(db, caller, row.provider_user_id, "reject_bid", row, "rejected")
    return view(changed)


def bid_to_take(db: Connection, bid_id: int, *, caller: Caller) -> BidView:
    """The bid that the caller is about to turn into an order, for the view to ask whether it still stands. Raises
    NotFound and Forbidden as `take_bid` does; whether it is open is for `take_bid` alone to say, once it has found
    that the request is not a repeated one."""
    return view(_sellers(repository.bid(db, bid_id), caller))


def take_bid(db: Connection, bid_id: int, *, caller: Caller) -> OrderView:
    """The order that the bid becomes; the bidder is told, other bids stay open.

    A service that was withdrawn meanwhile takes no new bids, but those on it may still be taken: its provider
    decides. Of two at once the second waits for the bid's row and finds it won. Raises NotFound when the caller may
    not see the bid, Forbidden for everybody but the service's provider (an administrator takes nobody's bids),
    Conflict when the bid is no longer open, when one of the two has left, or when the project is just being deleted.
    """
    seen = _sellers(repository.bid(db, bid_id), caller)
    closing.must_be_open(db, seen.bidder_id, seen.provider_user_id)  # before the bid is locked, as who closes does
    closing.project_must_be_open(db, seen.project_id)
    row = _sellers(repository.bid_for_change(db, bid_id), caller)
    model.must_be_open(row.status, "turned into an order")
    order = orders.add_order(
        db,
        bid_id=bid_id,
        user_id=row.bidder_id,
        service_id=row.service_id,
        provider_id=row.provider_id,
        provider_user_id=row.provider_user_id,
        project_id=row.project_id,
        amount=row.amount,
    )
    repository.change_bid(db, bid_id, status="won", order_id=order.id)
    message = f"Your bid of {row.amount:.2f} on service {row.service_id} was taken: it is order {order.id} now."
    outbox.emit(db, notice(f"order:{order.id}", message, users=[row.bidder_id], actor_id=caller.id))
    return order


def expire_bids(db: Connection, older_than: timedelta) -> int:
    """Expire one batch of open bids that are older than that, and tell their bidders; returns how many."""
    rows = repository.expire(db, older_than, EXPIRY_BATCH)
    for row in rows:
        message = f"Your bid of {row.amount:.2f} on service {row.service_id} has expired after {older_than.days} days."
        outbox.emit(db, notice(f"bid:{row.id}", message, users=[row.bidder_id], cause=f"bid:{row.id}:expired"))
    return len(rows)


def bid_of_order(db: Connection, order_id: int) -> BidView | None:
    """The bid that became this order."""
    row = repository.bid_of_order(db, order_id)
    return None if row is None else view(row)


def view(row: Row[Any]) -> BidView:
    """A bid's row as its bidder and the provider see it."""
    return BidView.model_validate(row)


def _visible(row: Row[Any] | None, caller: Caller) -> Row[Any]:
    if row is None:
        raise NotFound("There is no such bid.")
    caller.must_see("bid", row.bidder_id, row.provider_user_id)
    return row


def _sellers(row: Row[Any] | None, caller: Caller) -> Row[Any]:
    row = _visible(row, caller)
    if caller.user_id != row.provider_user_id:
        raise Forbidden("Only the service's provider turns a bid into an order.")
    return row


def _tell(db: Connection, row: Row[Any], message: str, caller: Caller) -> None:
    """Tell the other side; both where an administrator acted."""
    parties = [row.bidder_id, row.provider_user_id]
    outbox.emit(db, notice(f"bid:{row.id}", message, users=parties, actor_id=caller.id))


def _note_if_privileged(
    db: Connection, caller: Caller, entitled: int, action: str, before: Row[Any], status: model.Status
) -> None:
    if caller.user_id != entitled:
        audit.record(
            db,
            caller.user_id,
            action,
            f"bid:{before.id}",
            before={"status": before.status},
            after={"status": status},
        )
