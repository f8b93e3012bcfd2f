"""Top-ups: asked for in `itlc_tokens`, credited in the ledger (`itlc_users`), settled in `itlc_tokens`.

    top_up ──credit──▶ ledger ──credited──▶ completed
                          └─────refused───▶ failed

One that stays pending for too long is closed: the ledger is asked what became of it, and takes note that a late
`credit` is not to be applied any more.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row

from itlc import audit, telemetry
from itlc.access import Caller
from itlc.accounts.service import was_user
from itlc.catalog.service import provider_id_of
from itlc.errors import Forbidden, NotFound, Poison
from itlc.events import Event
from itlc.fields import Id
from itlc.notices import notice
from itlc.operation import Deadline
from itlc.paging import Found
from itlc.settings import settings
from itlc.stores import inbox, outbox, postgres
from itlc.wallet import ledger, repository
from itlc.wallet.model import MAX_TOKENS, TOPUPS, Move, Reason, account_of, cause_id, failed_topup, why_not
from itlc.wallet.saga import Cause, Payload, Saga, Step, first_event, said, sent_by, then
from itlc.wallet.schemas import TopUp, TopupQuery, TopupView

CONSUMER = "process_topups"
BATCH = 100


class Credit(Payload):
    """Tokens are to be credited."""

    topup_id: Id
    user_id: Id
    tokens: int = Field(ge=1, le=MAX_TOKENS)
    made_by: Id


class Credited(Payload):
    """They were."""

    topup_id: Id


class Refused(Payload):
    """They could not be."""

    topup_id: Id
    reason: Reason


def recipient(request: TopUp, *, caller: Caller) -> int:
    """The id of the user who gets the tokens. Opens the stores that it asks itself.

    Raises Forbidden when the caller names another without being a provider, NotFound for a user who never was.
    """
    if request.user_id in (None, caller.id):
        return caller.id
    if provider_id_of(caller.id) is None:
        raise Forbidden("Only providers top up for others: become one with POST /providers.")
    if not was_user(request.user_id):
        raise NotFound(f"There is no user {request.user_id}.")
    return request.user_id


def top_up(db: Connection, request: TopUp, *, user_id: int, caller: Caller) -> TopupView:
    """The new top-up, pending, and on its way to the ledger."""
    row = repository.add_topup(db, user_id=user_id, amount=request.amount, made_by=caller.id)
    outbox.emit(db, first_of(row))
    return TopupView.model_validate(row)


def read_topup(db: Connection, topup_id: int, *, caller: Caller) -> TopupView:
    """A top-up that the caller made or gets; an administrator may read any. Raises NotFound."""
    row = repository.topup(db, topup_id)
    if row is None or not caller.is_one_of(row.user_id, row.made_by):
        raise NotFound("There is no such top-up.")
    return TopupView.model_validate(row)


def list_topups(db: Connection, query: TopupQuery, *, caller: Caller) -> Found[TopupView]:
    """A page of the top-ups that the caller made or gets, newest first."""
    return repository.topups_of(db, caller.id, query).map(TopupView.model_validate)


# The steps


def credit(db: Connection, event: Event) -> Sequence[Event]:
    """In the ledger: credit the tokens, unless the user is erased or the balance would be too full.

    Raises Poison for a user who never was.
    """
    asked = said(Credit, event)
    holders = repository.holders_for_change(db, [asked.user_id])
    if asked.user_id not in holders:
        raise Poison(f"there is no user {asked.user_id}")
    credited = then(event, "credited", Credited(topup_id=asked.topup_id))
    move = Move(
        _cause(asked.topup_id), "topup", TOPUPS, account_of(asked.user_id), asked.tokens, topup_id=asked.topup_id
    )
    if ledger.already_made(db, move):  # and then it is so, whatever became of the user since
        return [credited]
    on_the_way = repository.on_the_way_to(db, [asked.user_id])
    reason = why_not(holders, {asked.user_id: asked.tokens}, on_the_way=on_the_way)
    if reason is not None:
        return [then(event, "refused", Refused(topup_id=asked.topup_id, reason=reason))]
    (row,) = ledger.transfer(db, move)
    audit.record(
        db,
        asked.made_by,
        "top_up",
        f"topup:{asked.topup_id}",
        before={"tokens": row.credit_balance - row.tokens},
        after={"tokens": row.credit_balance, "user_id": asked.user_id},
    )
    return [credited]


def complete(db: Connection, event: Event) -> Sequence[Event]:
    """In the top-ups: it is completed; whoever gets the tokens is told."""
    asked = said(Credited, event)
    row = _end(db, asked.topup_id, "completed", None)
    if row is not None:
        _tell(db, row, f"{row.amount:.0f} tokens were topped up: they are in your balance.")
    return []


def fail(db: Connection, event: Event) -> Sequence[Event]:
    """In the top-ups: it failed; whoever would have got the tokens is told."""
    asked = said(Refused, event)
    failure = failed_topup(asked.reason)
    row = _end(db, asked.topup_id, "failed", failure)
    if row is not None:
        _tell(db, row, f"A top-up of {row.amount:.0f} tokens failed: {failure}.")
    return []


def _asked_for(db: Connection, event: Event) -> Event:
    topup_id = said(Credit, event).topup_id
    row = repository.topup(db, topup_id)
    if row is None:
        raise Poison(f"there is no top-up {topup_id}")
    return first_of(row)


SAGA = Saga(
    CONSUMER,
    {
        "credit": Step(postgres.users, credit, Cause(postgres.tokens, Credit, _asked_for)),
        "credited": Step(postgres.tokens, complete, sent_by(postgres.users, Credited)),
        "refused": Step(postgres.tokens, fail, sent_by(postgres.users, Refused)),
    },
)


def expire(deadline: Deadline) -> dict[str, int]:
    """Settle the top-ups that have been pending for longer than the setting `topup_minutes`, by what the ledger says;
    returns how many were `settled`. Stops at the deadline, and goes on the next time. One whose row says something else
    than the `credit` that was applied is left, and is in the log."""
    settled = after_id = 0
    while not deadline.passed:
        with postgres.tokens.read() as db:
            stuck = repository.stuck_topups(db, timedelta(minutes=settings().topup_minutes), after_id, BATCH)
        for row in stuck:
            if deadline.passed:
                break
            after_id = row.id
            settled += settle_now(row, "expired", job="expire_topups")
        if len(stuck) < BATCH:
            break
    return {"settled": settled}


def settle_now(row: Row[Any], reason: Reason, *, job: str) -> bool:
    """Close a top-up and do all that follows; returns whether it is settled. One whose row says something else than the
    `credit` that was applied is left as it is and is in the log of the job: it keeps no other from being settled."""
    try:
        SAGA.run(close(row, reason))
    except Poison:
        telemetry.logger(job).exception("not settled", extra={"topup_id": row.id})
        return False
    return True


def close(row: Row[Any], reason: Reason) -> Event:
    """What became of a top-up in the ledger, which from now on applies its `credit` no more: `credited` when it did
    so before, else `refused`, for this reason."""
    asked = first_of(row)

    def transaction(db: Connection) -> Event:
        if not inbox.first_time(db, CONSUMER, asked):  # waits for one who is crediting it at this moment
            followed = SAGA.followed(db, asked)
            if followed:  # it has been said before, and is said in the same words
                return followed[0]
        credited = repository.transfers_made(db, [cause_id(_cause(row.id))])
        outcome = (
            then(asked, "credited", Credited(topup_id=row.id))
            if credited
            else then(asked, "refused", Refused(topup_id=row.id, reason=reason))
        )
        outbox.emit(db, outcome)
        return outcome

    return postgres.users.write(transaction)


def _cause(topup_id: int) -> str:
    return f"topup:{topup_id}"


def first_of(row: Row[Any]) -> Event:
    """The event that asks for a top-up's tokens: one and the same, whoever makes it."""
    payload = Credit(topup_id=row.id, user_id=row.user_id, tokens=int(row.amount), made_by=row.made_by)
    return first_event("topups", "credit", _cause(row.id), payload, id=cause_id(f"topup:{row.id}:credit"))


def _end(db: Connection, topup_id: int, status: str, failure: str | None) -> Row[Any] | None:
    if repository.topup(db, topup_id) is None:
        raise Poison(f"there is no top-up {topup_id}")
    return repository.end_topup(db, topup_id, status, failure)


def _tell(db: Connection, row: Row[Any], message: str) -> None:
    outbox.emit(db, notice(_cause(row.id), message, users=[row.user_id], cause=f"topup:{row.id}:{row.status}"))
