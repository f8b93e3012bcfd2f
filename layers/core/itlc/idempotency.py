"""Idempotency keys: the first answer is kept with its effect, and given again to whoever repeats the request.

In PostgreSQL a key's row commits in the transaction of the effect: advisory lock, claim, work, stored answer.
Neo4j does the same with a node (`itlc.stores.neo4j`), MongoDB within the created document (`itlc.stores.mongo`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from itlc.errors import FieldError, KeyReused, StillRunning
from itlc.settings import settings

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A response as it was first given: status, the headers that belong to it, and the body's text."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Key:
    """One request that may be repeated: whose it is, for which operation, and a hash of its path and body."""

    caller: str
    operation: str
    key: str
    fingerprint: str

    @property
    def identity(self) -> str:
        """One string for all that makes two keys the same."""
        return json.dumps([self.caller, self.operation, self.key])

    def check(self, fingerprint: str) -> None:
        """Raise KeyReused when the key was used with another path or body."""
        if fingerprint != self.fingerprint:
            raise KeyReused(
                "This Idempotency-Key was used before with another path or body. Use a new key for a new request.",
                FieldError("Idempotency-Key", "was used before with another path or body"),
            )


class Replayed(Exception):
    """The request was served before, with this answer. The seam gives it again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def fingerprint(path: str, body: Any) -> str:
    """The hash of what a request asks for: its path and its body, whatever the order of the body's fields."""
    return hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()


def slow_fingerprint(path: str, body: Any, salt: str) -> str:
    """The fingerprint of a body that holds a password: by scrypt (16 MiB, some 50 ms), since what is stored must not
    make guessing a password cheaper than its own hash does."""
    plain = fingerprint(path, body).encode()
    return hashlib.scrypt(plain, salt=salt.encode(), n=2**14, r=8, p=1, dklen=32).hex()


class Store(Protocol):
    """What the seam asks of a store that operations commit to. `handle` is that store's own transaction."""

    def write(self, work: Callable[[Any], T]) -> T:
        """Run `work` in one transaction."""

    def earlier_answer(self, key: Key) -> Answer | None:
        """The answer kept under the key, looked up before anything is done."""

    def claim(self, handle: Any, key: Key, answer: Callable[[Any], Answer]) -> Answer | None:
        """The answer to give again, or None: then the key is this transaction's until it ends.

        `answer` makes the answer out of what the work returns. Raises StillRunning while another request with the
        key runs, KeyReused when it was used otherwise."""

    def keep(self, handle: Any, key: Key, answer: Answer) -> None:
        """Store the answer with the effect."""

    def keep_refusal(self, key: Key, answer: Answer) -> None:
        """Store the answer of a request that was refused through the caller's own doing, unless there is one."""


class PostgresKeys:
    """Keys in the `idempotency_keys` table of one database."""

    def claim(self, handle: Connection, key: Key) -> Answer | None:
        """Lock the key for this transaction and look for its answer; None when there is none yet.

        Raises StillRunning while another transaction has the key, KeyReused when it was used otherwise."""
        lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(key.identity, 0)))
        if not handle.execute(lock).scalar_one():
            raise StillRunning("The first request with this Idempotency-Key is still running.")
        return self.find(handle, key)

    def find(self, handle: Connection, key: Key) -> Answer | None:
        """The answer kept under the key, if there is one that has not expired. Takes no lock."""
        table = handle.info["database"].idempotency_keys
        row = handle.execute(select(table).where(*self._is(table, key), table.c.expires_at > func.now())).one_or_none()
        if row is None:
            return None
        key.check(row.fingerprint)
        if row.status is None:
            raise StillRunning("The first request with this Idempotency-Key is still running.")
        return Answer(row.status, row.body, row.headers)

    def begin(self, handle: Connection, key: Key) -> None:
        """Note that work under the key has begun which will end in a later transaction (see `keep`)."""
        self._write(handle, key, status=None, headers=None, body=None)

    def keep(self, handle: Connection, key: Key, answer: Answer) -> None:
        """Store the answer in the transaction of the effect."""
        self._write(handle, key, status=answer.status, headers=answer.headers, body=answer.body)

    def keep_refusal(self, handle: Connection, key: Key, answer: Answer) -> None:
        """Store a refusal, unless the key has an answer already, or work that was begun under it will give it one."""
        self._write(handle, key, unless_answered=True, status=answer.status, headers=answer.headers, body=answer.body)

    def answer_once(self, handle: Connection, key: Key, answer: Answer) -> None:
        """Give work that was begun its first answer; one that it has already stays. Nothing happens without a claim."""
        table = handle.info["database"].idempotency_keys
        handle.execute(
            update(table)
            .where(*self._is(table, key), table.c.status.is_(None))
            .values(status=answer.status, headers=answer.headers, body=answer.body)
        )

    def release(self, handle: Connection, key: Key) -> None:
        """Forget work that was begun and came to nothing through no fault of the caller."""
        table = handle.info["database"].idempotency_keys
        handle.execute(delete(table).where(*self._is(table, key), table.c.status.is_(None)))

    @staticmethod
    def _is(table: Any, key: Key) -> tuple[Any, ...]:
        return table.c.caller == key.caller, table.c.operation == key.operation, table.c.key == key.key

    @staticmethod
    def _write(handle: Connection, key: Key, *, unless_answered: bool = False, **answer: Any) -> None:
        table = handle.info["database"].idempotency_keys
        fields = {
            "fingerprint": key.fingerprint,
            "expires_at": func.now() + timedelta(hours=settings().idempotency_hours),
            **answer,
        }
        row = upsert(table).values(caller=key.caller, operation=key.operation, key=key.key, **fields)
        free = table.c.expires_at < func.now()
        handle.execute(
            row.on_conflict_do_update(
                constraint=table.primary_key, set_=fields, where=free if unless_answered else None
            )
        )


def purge(handle: Connection, limit: int) -> int:
    """Remove up to `limit` keys whose time is over; returns how many."""
    table = handle.info["database"].idempotency_keys
    old = (
        select(table.c.caller, table.c.operation, table.c.key)
        .where(table.c.expires_at < func.now())
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    gone = delete(table).where(
        table.c.caller == old.c.caller, table.c.operation == old.c.operation, table.c.key == old.c.key
    )
    return handle.execute(gone).rowcount
