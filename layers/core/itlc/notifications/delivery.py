"""From a notice on the queue to what each person finds in their list.

A module of its own, for it asks `itlc_users` who is behind an address, which the other operations do without.
"""

import logging

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection

from itlc.accounts.service import user_exists, user_ids_by_email, was_user
from itlc.errors import Poison
from itlc.events import Event
from itlc.fields import Email
from itlc.notifications import repository
from itlc.notifications.schemas import Notice
from itlc.stores.inbox import first_time

ADDRESS: TypeAdapter[str] = TypeAdapter(Email)

log = logging.getLogger(__name__)


def read_notice(event: Event) -> Notice:
    """What the event wants told. Raises Poison, with the reason, for what is no notice."""
    if event.type != "notice":
        raise Poison(f"the notifications queue knows the type notice, not {event.type[:64]}")
    try:
        return Notice.model_validate(event.payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise Poison(f"the notice is malformed: {where}: {first['msg']}") from error


def recipients(notice: Notice) -> list[int]:
    """The users to tell, each once, whoever acted left out, and those whose account was erased too. Asks `itlc_users`.

    An address that belongs to nobody is passed over (personnel need no account), and what is no address too. Raises
    Poison when a user named by id never was.
    """
    addresses = [text for text in notice.emails if _is_address(text)]
    if len(addresses) < len(notice.emails):
        log.error("a notice names what is no address", extra={"addresses": len(notice.emails) - len(addresses)})
    found = set(user_ids_by_email(addresses).values())
    for user_id in set(notice.user_ids) - found:
        if user_exists(user_id):
            found.add(user_id)
        elif not was_user(user_id):
            raise Poison(f"there never was a user {user_id}")
    return sorted(found - {notice.actor_id})


def _is_address(text: str) -> bool:
    try:
        ADDRESS.validate_python(text)
    except ValidationError:
        return False
    return True


def deliver(db: Connection, event: Event, notice: Notice, user_ids: list[int]) -> None:
    """Write down what each of these users is told. Nothing happens when the event was delivered before."""
    if first_time(db, "deliver_notifications", event):
        repository.add_notifications(db, user_ids, event_id=event.id, about=event.aggregate, message=notice.message)
