"""How the matrix of rights is written down and checked: a row is an operation, a cell is one who calls it."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypedDict, Unpack

import pytest

from tests.security.cast import ACTORS, Actor, Cast
from tests.support.calling import operation

Who = Literal[
    "P", "U", "V", "A", "cust", "prov", "cust, prov", "bidder", "bidder or prov", "mine", "own", "buyer", "reviewer"
]
"""The contract's words. `mine` is private to the customer, `own` public and the seller's; the `buyer` has an order of
the service, the `reviewer` wrote what all may read."""

# Who gets through; what the others get is below. An administrator may do what the owner and the parties may.
ADMITTED: dict[Who, set[Actor]] = {
    "P": set(ACTORS),
    "U": set(ACTORS) - {"anonymous"},
    "V": {"rival", "seller"},
    "A": {"admin"},
    "cust": {"customer", "admin"},
    "prov": {"seller", "admin"},
    "cust, prov": {"customer", "seller", "admin"},
    "bidder": {"customer", "admin"},
    "bidder or prov": {"customer", "seller", "admin"},
    "mine": {"customer", "admin"},
    "own": {"seller", "admin"},
    "buyer": {"customer"},
    "reviewer": {"customer", "admin"},
}
OF_TWO: tuple[Who, ...] = ("cust", "prov", "cust, prov", "bidder", "bidder or prov")
PUBLIC: tuple[Who, ...] = ("V", "A", "own", "buyer", "reviewer")
# Whoever may see the thing is forbidden to act on it (403); to everybody else it is not there (404).
WHO_SEE: dict[Who, set[Actor]] = {
    **{who: {"customer", "seller", "admin"} for who in OF_TWO},
    "mine": {"customer", "admin"},
    **{who: set(ACTORS) for who in PUBLIC},
}


@dataclass(frozen=True)
class Request:
    """What is sent: the body, the path's ids, the query."""

    body: Any = None
    ids: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] | None = None


Ask = Callable[[Cast], Request]


def after(prepared: object, request: Request | None = None) -> Request:
    """The request (an empty one where none is given), once `prepared` has been made."""
    return request or Request()


@dataclass(frozen=True)
class Row:
    """An operation, who may call it in the contract's words, the status of those who may, and what they send.

    `but` are the cells in which the contract says something else. `lists` names those who find something of theirs
    in the list that is answered; everybody else's is empty.
    """

    operation: str
    who: Who
    status: int
    ask: Ask
    case: str = ""
    but: Mapping[Actor, int] = field(default_factory=dict)
    lists: frozenset[Actor] | None = None

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return f"{self.operation}-{self.case}" if self.case else self.operation

    def expected(self, actor: Actor) -> int:
        """The status of one cell."""
        if actor in self.but:
            return self.but[actor]
        if actor in ADMITTED[self.who]:
            return self.status
        if actor == "anonymous":
            return 401
        # Their session has ended, and what only an administrator may do asks for it first.
        if actor == "erased" and self.who == "A":
            return 401
        return 403 if actor in WHO_SEE[self.who] else 404


class But(TypedDict, total=False):
    """The cells of a row that differ, by the actors' names."""

    anonymous: int
    stranger: int
    rival: int
    customer: int
    seller: int
    admin: int
    erased: int


def row(
    operation: str,
    who: Who,
    status: int,
    ask: Ask | Request | None = None,
    *,
    case: str = "",
    lists: Iterable[Actor] | None = None,
    **but: Unpack[But],
) -> Row:
    """A row of the table. A request that needs nothing prepared may be given as it is."""
    asked = ask if callable(ask) else partial(after, request=ask)
    differing = {actor: but[actor] for actor in ACTORS if actor in but}
    return Row(operation, who, status, asked, case, differing, None if lists is None else frozenset(lists))


Test = Callable[[tuple[Row, Cast], Actor], None]


def cells(rows: tuple[Row, ...], *domains: str) -> Callable[[Test], Test]:
    """Run a test for each cell of the rows of these domains. It takes `row_and_cast`, a row with its people, who are
    made once and then called by all of its cells; and `actor`, who calls."""
    chosen = [one for one in rows if domain_of(one.operation) in domains]
    assert chosen, f"no rows of {domains}"
    # Only the rows are of the module's scope: were the actors too, pytest would group by them as well, and tear rows
    # apart.
    each_row = pytest.mark.parametrize("row_and_cast", chosen, ids=str, indirect=True, scope="module")
    each_actor = pytest.mark.parametrize("actor", ACTORS)

    def marked(test: Test) -> Test:
        return each_actor(each_row(test))

    return marked


def domain_of(name: str) -> str:
    """The domain of an operation; none where there is no such operation."""
    from tests.support.calling import FUNCTIONS

    return next((path.parent.name for path in FUNCTIONS.glob(f"*/{name}.py")), "")


def check(one: Row, cast: Cast, actor: Actor) -> None:
    """Assert what one cell says: the status, and that nothing is written where it is refused or only read."""
    spec = operation(one.operation).route_spec
    assert spec is not None
    request = one.ask(cast)
    keyed = spec.key == "required"
    changes_nothing = one.expected(actor) >= 400 or spec.method == "GET"
    before = cast.fingerprint(without_keys=keyed) if changes_nothing else {}
    response = cast.actor(actor).call(
        one.operation,
        request.body,
        query=dict(request.query) if request.query else None,
        key=str(uuid.uuid4()) if keyed else None,
        **request.ids,
    )
    assert response.status == one.expected(actor), response.text
    if changes_nothing:
        assert cast.fingerprint(without_keys=keyed) == before, f"{actor} is answered {response.status}, and wrote"
    if one.lists is not None and response.status == 200:
        assert bool(response["items"]) == (actor in one.lists), f"{actor} sees {response['items']}"
