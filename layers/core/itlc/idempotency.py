"""Idempotency keys: the first answer is kept with its effect, and given again to whoever repeats the request.

In PostgreSQL a key's row commits in the transaction of the effect: advisory lock, claim, work, stored answer.
Neo4j does the same with a node (`itlc.stores.neo4j`), MongoDB within the created document (`itlc.stores.mongo`).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from itlc.errors import FieldError, KeyReused
from itlc.limits import Window

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

    def count_request(self, subject: str, window: Window) -> int:
        """See `itlc.limits.Counter`."""

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
