"""How an order moves from state to state, and how its project stands by it. No I/O.

    created --start--> in_progress --complete--> completed --pay--> paying --settle--> paid --refund--> refunded
       |                   |                         |  ^              |
       +-----cancel--------+                       waive +---decline---+
                 v                                   v
             cancelled <-----------------------------+

A check-in `started` starts, `completed` completes; `in_progress` and `blocked` leave the order as it is. Payment
comes in three moves, for its tokens move in another database: `paying` while they do.
"""

from collections.abc import Iterable
from typing import Literal

from itlc.errors import Conflict

Status = Literal["created", "in_progress", "completed", "paying", "paid", "refunded", "cancelled"]
CheckinStatus = Literal["started", "in_progress", "blocked", "completed"]
ProjectStatus = Literal["open", "in_progress", "completed", "paid"]
Act = Literal["start", "continue", "complete", "cancel", "waive", "pay", "settle", "decline", "refund"]

MOVES: dict[Act, tuple[frozenset[Status], Status]] = {
    "start": (frozenset({"created"}), "in_progress"),
    "continue": (frozenset({"in_progress"}), "in_progress"),
    "complete": (frozenset({"in_progress"}), "completed"),
    "cancel": (frozenset({"created", "in_progress"}), "cancelled"),
    "waive": (frozenset({"completed"}), "cancelled"),
    "pay": (frozenset({"completed"}), "paying"),
    "settle": (frozenset({"paying"}), "paid"),
    "decline": (frozenset({"paying"}), "completed"),
    "refund": (frozenset({"paid"}), "refunded"),
}
"""From which states an act is possible, and to which it leads. A refund of a part leaves the order `paid`: `refund`
is the one that gives back the last of it. `waive` is what erasing a provider does to orders still to be paid."""

CHECKIN_ACTS: dict[CheckinStatus, Act] = {
    "started": "start",
    "in_progress": "continue",
    "blocked": "continue",
    "completed": "complete",
}

ASKED_FOR: tuple[Act, ...] = ("cancel", "pay", "refund")
"""The acts, beside check-ins, that somebody may ask for; the others happen by themselves."""

BOUGHT: frozenset[Status] = frozenset({"completed", "paying", "paid", "refunded"})
"""The work is done: whoever has an order in one of these states has bought the service. `paying` is a completed
order whose tokens are on their way."""

SETTLED: frozenset[Status] = frozenset({"paid", "refunded"})


def after(status: Status, act: Act) -> Status:
    """The order's state after `act`. Raises Conflict, saying what is possible, when it is not possible now."""
    before, then = MOVES[act]
    if status in before:
        return then
    raise Conflict(f"{act.capitalize()} is not possible: the order is {status}. {possible_now(status)}")


def after_checkin(status: Status, checkin: CheckinStatus) -> Status:
    """The order's state after a check-in. The first check-in is `started`, and only the first; after `completed`
    there is none. Raises Conflict, saying what is possible, for any other."""
    before, then = MOVES[CHECKIN_ACTS[checkin]]
    if status in before:
        return then
    raise Conflict(f"A check-in `{checkin}` is not possible: the order is {status}. {possible_now(status)}")


def checkins_now(status: Status) -> list[CheckinStatus]:
    """The check-ins that an order in this state takes."""
    return [checkin for checkin, act in CHECKIN_ACTS.items() if status in MOVES[act][0]]


def possible_now(status: Status) -> str:
    """One sentence: what an order in this state takes."""
    ways = [f"check in `{checkin}`" for checkin in checkins_now(status)]
    ways += [act for act in ASKED_FOR if status in MOVES[act][0]]
    return f"Possible now: {', '.join(ways)}." if ways else "Nothing is possible now."


def project_status(orders: Iterable[Status]) -> ProjectStatus:
    """How a project stands, by the states of all its orders.

    Cancelled orders count for nothing, so a project all of whose orders were cancelled is `open` again. Of the
    rest: all settled is `paid`, all at least completed (one being paid included) is `completed`, else `in_progress`.
    """
    counted = {status for status in orders if status != "cancelled"}
    if not counted:
        return "open"
    if counted <= SETTLED:
        return "paid"
    return "completed" if counted <= BOUGHT else "in_progress"
