"""The queries about failed sign-ins, and about the addresses from which users have signed in."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy import Connection, case, delete, exists, func, literal, null, select, update
from sqlalchemy.dialects.postgresql import insert

from itlc.accounts.tables import known_addresses, sign_in_failures
from itlc.settings import settings

MOST_DOUBLINGS = 20
"""Beyond so many doublings every wait is the longest, and numbers stay small."""


def count(db: Connection, subjects: Mapping[str, str], most: Mapping[str, int]) -> set[str]:
    """Count one failure for each of `subjects` (its kind, by its name) that has not to wait; returns the names of
    those. From `most` failures of its kind on, a subject has to wait, longer each time."""
    set_ = settings()
    delay, longest = timedelta(seconds=set_.failure_delay_seconds), timedelta(seconds=set_.longest_delay_seconds)
    forgotten = func.now() - timedelta(minutes=set_.failure_memory_minutes)
    rows = [  # in the order of their names: everybody locks them in this order
        {
            "subject": subject,
            "kind": kind,
            "failures": 1,
            "blocked_until": func.now() + delay if most[kind] <= 1 else null(),
        }
        for subject, kind in sorted(subjects.items())
    ]
    table = sign_in_failures
    failures = case((table.c.last_at < forgotten, 1), else_=table.c.failures + 1)
    over = failures - case(most, value=table.c.kind)
    wait = func.least(longest, delay * func.power(2, func.least(over, MOST_DOUBLINGS)))
    counted = (
        insert(table)
        .values(rows)
        .on_conflict_do_update(
            index_elements=["subject"],
            set_={
                "failures": failures,
                "last_at": func.now(),
                "blocked_until": case((over >= 0, func.now() + wait), else_=null()),
            },
            where=func.coalesce(table.c.blocked_until, func.now()) <= func.now(),
        )
        .returning(table.c.subject)
    )
    return set(db.execute(counted).scalars())


def seconds_blocked(db: Connection, subjects: Collection[str]) -> float:
    """In how many seconds none of `subjects` has to wait any more."""
    last = func.max(sign_in_failures.c.blocked_until)
    waiting = select(func.extract("epoch", last - func.now())).where(sign_in_failures.c.subject.in_(subjects))
    return float(db.execute(waiting).scalar_one() or 0)


def forgive(db: Connection, pair: str, others: Collection[str]) -> None:
    """Forget the failures of an account from an address; they count no more for either of the `others`."""
    table = sign_in_failures
    forget = delete(table).where(table.c.subject == pair).returning(table.c.failures)
    forgiven = db.execute(forget).scalar_one_or_none()
    if forgiven:
        theirs = table.c.subject.in_(sorted(others))
        left = func.greatest(0, table.c.failures - forgiven)
        db.execute(update(table).where(theirs).values(failures=left, blocked_until=null()))


def knows_address(db: Connection, user_id: int, address: str) -> bool:
    """Whether the user has signed in from this address of late."""
    return _seen(db, known_addresses.c.user_id == user_id, known_addresses.c.address == address)


def is_anybodys_address(db: Connection, address: str) -> bool:
    """Whether any user has signed in from this address of late."""
    return _seen(db, known_addresses.c.address == address)


def _seen(db: Connection, *which: object) -> bool:
    of_late = known_addresses.c.last_seen_at > func.now() - timedelta(days=settings().known_address_days)
    return bool(db.execute(select(exists(select(literal(1)).where(*which, of_late)))).scalar_one())  # type: ignore[arg-type]


def know_address(db: Connection, user_id: int, address: str) -> None:
    """Note that the user has signed in from this address now."""
    row = insert(known_addresses).values(user_id=user_id, address=address)
    db.execute(row.on_conflict_do_update(constraint=known_addresses.primary_key, set_={"last_seen_at": func.now()}))
