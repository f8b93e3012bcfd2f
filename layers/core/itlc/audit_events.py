"""Privileged acts in MongoDB and in the graph, on their way to the audit.

Those stores keep no audit of their own. The record travels as an event of the act itself, in the document's outbox or
in the graph's transaction, to the queue `audit`; `record_audit` writes it into the audit of `itlc_users`.
"""

from collections.abc import Mapping
from typing import Any

from itlc.access import Caller
from itlc.events import Event, event

QUEUE, TYPE = "audit", "act"


def if_privileged(
    caller: Caller,
    entitled: int,
    action: str,
    object_name: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> tuple[Event, ...]:
    """The event that puts on record what the caller did (`action`, the operation's name) to an object such as
    `blog:665f…` in the place of the user who is `entitled` to it; none where that is the caller.

    `before` and `after` hold what changed, in JSON's own types, and nothing personal: of texts only their names.
    """
    if caller.user_id == entitled:
        return ()
    said = {
        "actor_id": caller.id,
        "action": action,
        "before": None if before is None else dict(before),
        "after": None if after is None else dict(after),
    }
    return (event(QUEUE, TYPE, object_name, said),)
