"""What can go wrong, in the marketplace's own words.

A domain raises one of these kinds, or a subclass that says more. Nothing here knows HTTP: the seam
(`itlc.operation`) finds the status of an error by walking its class's MRO.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One field that was refused: its dotted path (`steps.2.depends_on`) and what is wrong with it."""

    field: str
    message: str


class ItlcError(Exception):
    """Anything that is answered with an explanation. `detail` is one sentence for the caller, never a store's words."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(ItlcError):
    """What came in cannot be read at all: not JSON, no such header form, a needed key missing."""


class Unauthenticated(ItlcError):
    """Nobody known is calling: no token, or one that is expired, forged or whose session has ended."""


class InsufficientTokens(ItlcError):
    """The payer has fewer tokens than are asked for."""


class Forbidden(ItlcError):
    """The caller is known and may see the object, but may not do this to it."""


class NotFound(ItlcError):
    """It is not there, or not the caller's to see: both look alike."""


class Conflict(ItlcError):
    """The request contradicts the present state of things."""


class Passing(Conflict):
    """A conflict that ends by itself, soon: the same request may succeed after `retry_after` seconds, under the same
    key."""

    retry_after = 1


class StillRunning(Passing):
    """The first request with this idempotency key has not ended yet."""


class PreconditionFailed(ItlcError):
    """`If-Match` names another version than the present one."""


class TooLarge(ItlcError):
    """The body is over the limit."""


class Invalid(ItlcError):
    """Well-formed but not valid. `errors` names each field that was refused."""

    def __init__(self, detail: str, *errors: FieldError) -> None:
        super().__init__(detail)
        self.errors = errors


class KeyReused(Invalid):
    """An idempotency key came again with another path or body."""


class TooMany(ItlcError):
    """The caller asks too often. `retry_after` is in whole seconds."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class StoreAway(ItlcError):
    """A store or queue that this needs cannot be reached just now. `retry_after` is in whole seconds.

    What was asked may have been done all the same: a connection can break after the commit and before its answer.
    """

    def __init__(self, store: str, retry_after: int = 2) -> None:
        super().__init__(
            f"{store} is not available just now. Try again shortly, with the same Idempotency-Key if you sent one: "
            "then nothing is done twice."
        )
        self.store = store
        self.retry_after = retry_after


class Poison(Exception):
    """A message that can never be processed; `reason` says why. It goes to the dead-letter queue at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def invalid(field: str, message: str) -> Invalid:
    """The `Invalid` of a single field."""
    return Invalid(f"{field}: {message}", FieldError(field, message))
