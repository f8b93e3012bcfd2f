"""A request that begins a saga: begun under its idempotency key, run on at once, answered by what is kept there.

Whoever settles the work, this request or the queue, keeps the answer under the key, in the transaction that settles
it. So the first answer and every replay are the same, to the letter.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row

from itlc import answers
from itlc.answers import Reply
from itlc.errors import StillRunning
from itlc.events import Event, request_id
from itlc.fields import View
from itlc.idempotency import Answer, Key, Replayed
from itlc.stores import outbox, postgres
from itlc.stores.postgres import keys
from itlc.wallet.saga import Limit, Saga

Begun = TypeVar("Begun", bound=Event | None)
log = logging.getLogger(__name__)
AT_ONCE = Limit(seconds=5.0, owed_seconds=8.0)
"""After that, a request begins no further step: its function has 25 seconds, of which a store that hangs may take six
before the first step and six for each that has begun."""


def begin_under_key(
    key: Key, work: Callable[[Connection], Begun], *, begun: Callable[[Connection, Key], Event | None]
) -> Begun | Event:
    """Run `work` in one transaction of `itlc_orders` that claims the key; the saga's first event, which it returns, is
    emitted in it. Where `work` returns None, nothing was begun. What an earlier request with this key has begun and
    could not end is not begun again: `begun` finds its first event.

    Raises Replayed when the key has its answer, StillRunning while it is being worked on, KeyReused, and whatever
    `work` raises.
    """

    def transaction(db: Connection) -> Begun | Event:
        earlier = keys.claim(db, key)
        if earlier is not None:
            raise Replayed(earlier)
        under_way = begun(db, key) if keys.has_begun(db, key) else None
        if under_way is not None:
            return under_way
        first = work(db)
        if first is not None:
            keys.begin(db, key)
            outbox.emit(db, first)
        return first

    return postgres.orders.write(transaction)


def run_on(saga: Saga, first: Event, key: Key, *, meanwhile: View) -> Reply:
    """Run a saga that has begun as far as it goes within a few seconds, and return the answer that is kept under the
    key; 202 with `meanwhile` where it could not be settled at once. What is left is done by the queue."""
    try:
        saga.run(first, AT_ONCE)
    except Exception:  # it has begun: from here on nothing may tell the caller that it has not
        log.warning("the queue goes on with %s", first.aggregate, exc_info=True)
    try:
        with postgres.orders.read() as db:
            kept = keys.find(db, key)
    except StillRunning:
        kept = None
    except Exception:
        log.warning("the answer about %s cannot be read yet", first.aggregate, exc_info=True)
        kept = None
    return Reply(meanwhile, 202) if kept is None else Reply(kept.body, kept.status, kept.headers)


def key_columns(key: Key) -> dict[str, Any]:
    """The columns that tie a row to the request which began it."""
    return {
        "key_caller": key.caller,
        "key_operation": key.operation,
        "key": key.key,
        "key_fingerprint": key.fingerprint,
        "request_id": request_id.get(),
    }


def keep_answer(db: Connection, row: Row[Any], answer: Answer) -> None:
    """Keep the answer to the request that began what `row` (a payment, a refund) is about."""
    keys.answer_once(db, Key(row.key_caller, row.key_operation, row.key, row.key_fingerprint), answer)


def created(view: View) -> Answer:
    """The 201 that tells of `view`."""
    return answers.answer(view, adapter=TypeAdapter(type(view)), status=201, location=None, path="", scope="")
