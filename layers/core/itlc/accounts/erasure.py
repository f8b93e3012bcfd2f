"""The job that erases a person in every store, after their account was closed.

    close_account (itlc_orders) ──erase──▶ itlc_users, then every other store ──a quarter of an hour later──▶ once more

Every part may be repeated, and each is tried even where another one fails: a store that is away holds up no other, and
the message comes again for it. As access tokens are checked without a store, the person can write for some minutes
more; so it is all done once more when the last token has run out. Until then `itlc_users.erasures` keeps by which names
and addresses they are found; no message and no outbox does.
"""

import uuid
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial

from pydantic import BaseModel, ConfigDict, ValidationError

from itlc import events, telemetry
from itlc.accounts import personal_data as accounts
from itlc.bids import personal_data as bids
from itlc.catalog import personal_data as catalog
from itlc.content import personal_data as content
from itlc.errors import Poison, StoreAway
from itlc.feedback import personal_data as feedback
from itlc.fields import Id
from itlc.notifications import personal_data as notifications
from itlc.orders import personal_data as orders
from itlc.orders.closing import NAMESPACE, QUEUE, TYPE
from itlc.plans import personal_data as plans
from itlc.projects import personal_data as projects
from itlc.settings import settings
from itlc.stores import keys, mongo, neo4j, outbox, postgres
from itlc.wallet import personal_data as wallet

BATCH = 1_000
"""How much is removed at once."""
PAGE = 5_000
"""How much is looked at at once."""
LAST_TIME = "erase_again"
"""The type of the event that has it all done once more, for the last time."""
TOKENS_RUN_OUT = timedelta(minutes=1)
"""How long after the last access token has run out that is."""


class Erase(BaseModel):
    """The payload of both events."""

    model_config = ConfigDict(extra="forbid")

    user_id: Id


class NotErasedError(Exception):
    """Some part is left to do: the message has to come again."""


def read_erase(event: events.Event) -> int:
    """The id of the user to erase. Raises Poison, with the reason, for what names none."""
    if event.type not in (TYPE, LAST_TIME):
        raise Poison(f"the queue erasures knows the types {TYPE} and {LAST_TIME}, not {event.type[:64]!r}")
    try:
        return Erase.model_validate(event.payload, strict=True).user_id
    except ValidationError as error:
        raise Poison("the payload of an erasure is one user_id") from error


def erase(event: events.Event) -> None:
    """Erase whom the event names, everywhere. Raises Poison for somebody who never was or whose account was never
    closed, NotErasedError when a part has to be done again, StoreAway when it has to only since a store is away."""
    user_id = read_erase(event)
    _must_be_closed(user_id)
    if not postgres.users.write(lambda db: accounts.erase(db, user_id)):
        raise Poison(f"there never was a user {user_id}")
    parts = {} if _remember_profile(user_id) else {"itlc_api": _not_remembered}
    failed: dict[str, Exception] = {}
    for part, do in (_parts(user_id, accounts.person(user_id)) | parts).items():
        try:
            do()
        except Exception as error:
            telemetry.logger("erase_user").exception("not erased", extra={"user_id": user_id, "part": part})
            failed[part] = error
    if failed and all(isinstance(error, StoreAway) for error in failed.values()):
        raise next(iter(failed.values()))
    if failed:
        raise NotErasedError(f"user {user_id} is not erased in: {', '.join(failed)}")
    if event.type == LAST_TIME:
        accounts.forget(user_id)
    else:
        _once_more(user_id)


def _must_be_closed(user_id: int) -> None:
    """Raise Poison unless the account was closed, which is what an erasure comes from; as a rule it is known here
    already, and no other store is asked."""
    if accounts.is_erased(user_id):
        return
    with postgres.orders.read() as db:
        if not orders.is_closed(db, user_id):
            raise Poison(f"the account of user {user_id} was never closed")


def _remember_profile(user_id: int) -> bool:
    """Note by which name and address the person's provider profile is known, before the profile loses them; False
    where that could not be read. Then the profile has to wait, the other stores go ahead."""
    try:
        with postgres.catalog.read() as db:
            profile = catalog.known_as(db, user_id)
    except StoreAway:
        telemetry.logger("erase_user").warning("profile not read", exc_info=True, extra={"user_id": user_id})
        return False
    if profile is not None:
        accounts.also_known_as(user_id, name=profile[0], email=profile[1])
    return True


def _not_remembered() -> None:
    """The profile has to be read first, for the plans are searched by its address."""
    raise StoreAway("itlc_api")


def _parts(user_id: int, person: accounts.Person) -> dict[str, Callable[[], object]]:
    """What is to be done, by name. None needs another to have been done before it."""
    write_orders, words, caller = postgres.orders.write, person.words, f"user:{user_id}"
    parts: dict[str, Callable[[], object]] = {
        "itlc_api": lambda: postgres.catalog.write(lambda db: catalog.erase(db, user_id, words)),
        "bids.open": lambda: _in_batches(lambda: write_orders(lambda db: bids.close_open_bids(db, user_id))),
        "bids": lambda: bids.erase(user_id, words),
        "orders": lambda: orders.erase(user_id, words),
        "notifications": lambda: _in_batches(lambda: write_orders(lambda db: notifications.erase(db, user_id))),
        "payments": lambda: write_orders(lambda db: wallet.erase(db, user_id)),
        "itlc_tokens": lambda: wallet.fail_pending(user_id),
        "projects": lambda: mongo.projects.write(lambda db: projects.erase(db, user_id)),
        "blogs": lambda: mongo.blogs.write(lambda db: content.erase(db, user_id)),
        "faqs": lambda: mongo.faqs.write(lambda db: content.erase(db, user_id)),
        "reviews": lambda: mongo.reviews.write(lambda db: feedback.erase_reviews(db, user_id)),
        "ratings": lambda: mongo.ratings.write(lambda db: feedback.erase_from_ratings(db, user_id)),
        "neo4j": lambda: _erase_from_plans(user_id, person),
        "neo4j.keys": lambda: neo4j.graph.write(lambda db: neo4j.forget_keys(db, caller)),
        "neo4j.sent": lambda: _forget_notices_of_graph(user_id, person.emails),
        "sent_events": lambda: _in_batches(lambda: mongo.forget_notices(user_id, person.emails, BATCH)),
    }
    for database in postgres.DATABASES:
        parts[f"{database.name}.keys"] = partial(database.write, partial(keys.forget, caller=caller))
        parts[f"{database.name}.outbox"] = partial(_forget_notices, database, user_id)
    for store in mongo.STORES:
        parts[f"{store.collection}.keys"] = partial(_in_batches, partial(_forget_mongo_keys, store, caller))
    return parts


def _erase_from_plans(user_id: int, person: accounts.Person) -> None:
    with postgres.orders.read() as db:
        order_ids = set(orders.order_ids(db, user_id))
    plans.erase(order_ids, person.names, person.emails)


def _forget_mongo_keys(store: mongo.DocumentStore, caller: str) -> int:
    with store.read() as documents:
        return mongo.forget_keys(documents, caller, BATCH)


def _forget_notices(database: postgres.Database, user_id: int) -> None:
    """What they were told waits for a while in the outboxes that told it, and may quote what a service was called."""
    _in_batches(lambda: database.write(lambda db: outbox.forget_notices(db, user_id, BATCH)))


def _forget_notices_of_graph(user_id: int, emails: Collection[str]) -> None:
    """The same of the graph, where no index knows whom an event told: all that was sent is looked at, a page at a
    time."""

    def forget(after: neo4j.Place) -> neo4j.Place | None:
        return neo4j.graph.write(lambda db: neo4j.forget_notices(db, user_id, emails, after, PAGE))

    after = forget(neo4j.BEFORE_ALL)
    while after is not None:
        after = forget(after)


def _in_batches(one: Callable[[], int]) -> None:
    while one():
        pass


def _once_more(user_id: int) -> None:
    again = events.event(
        QUEUE, LAST_TIME, f"user:{user_id}", {"user_id": user_id}, id=uuid.uuid5(NAMESPACE, f"{LAST_TIME}:{user_id}")
    )
    events.send_later(again, timedelta(seconds=settings().access_token_seconds) + TOKENS_RUN_OUT)
