"""What somebody is to be told, as an event for the notifications queue. The domains say it; one job delivers it."""

import uuid
from collections.abc import Iterable

from itlc.events import Event, event

NAMESPACE = uuid.UUID("8c1f6f0c-6a0b-5b43-9d5e-0b6f6f1c2a77")


def notice(
    about: str,
    message: str,
    *,
    users: Iterable[int | None] = (),
    emails: Iterable[str] = (),
    actor_id: int | None = None,
    cause: str | None = None,
) -> Event:
    """Tell `users`, and whoever of `emails` is a user, `message` about an object such as `order:12`.

    The actor is never told of their own act, and nobody is told twice. A `cause` that names the one happening
    (`topup:7:completed`) makes it the same event however often it is emitted.
    """
    return event(
        "notifications",
        "notice",
        about,
        {
            "message": message,
            "user_ids": sorted({user for user in users if user is not None and user != actor_id}),
            "emails": sorted({email.lower() for email in emails}),
            "actor_id": actor_id,
        },
        id=uuid.uuid5(NAMESPACE, cause) if cause else None,
    )
