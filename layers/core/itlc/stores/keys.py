"""Idempotency keys in PostgreSQL: a row of `idempotency_keys` that commits with the effect (see `itlc.idempotency`)."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from itlc.errors import StillRunning
from itlc.idempotency import Answer, Key
from itlc.settings import settings

LONGEST_RUN = timedelta(seconds=25)
"""So long a function may take for a request that begins work under a key: then it has answered, or died."""


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
        """The answer kept under the key, if there is one that has not expired. Takes no lock.

        Raises StillRunning while the request that began work under it may still be running. Later, where the work has
        no answer yet, there is None: whoever asks again may go on with it."""
        table = handle.info["database"].idempotency_keys
        may_run = (table.c.created_at > func.now() - LONGEST_RUN).label("may_run")
        kept = select(table, may_run).where(*self._is(table, key), table.c.expires_at > func.now())
        row = handle.execute(kept).one_or_none()
        if row is None:
            return None
        key.check(row.fingerprint)
        if row.status is not None:
            return Answer(row.status, row.body, row.headers)
        if row.may_run:
            raise StillRunning("The first request with this Idempotency-Key is still running.")
        return None

    def has_begun(self, handle: Connection, key: Key) -> bool:
        """Whether work under the key, which has not expired, has begun and has no answer yet."""
        table = handle.info["database"].idempotency_keys
        row = (*self._is(table, key), table.c.expires_at > func.now(), table.c.status.is_(None))
        return handle.execute(select(table.c.key).where(*row)).one_or_none() is not None

    def begin(self, handle: Connection, key: Key) -> None:
        """Note that work under the key begins now, which will end in a later transaction (see `answer_once`)."""
        self._write(handle, key, status=None, headers=None, body=None, created_at=func.now())

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


def forget(handle: Connection, caller: str) -> None:
    """Remove all keys of a caller (`user:12`), with the answers kept under them."""
    table = handle.info["database"].idempotency_keys
    handle.execute(delete(table).where(table.c.caller == caller))


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
