"""Responses, problems, ETags, without any store."""

import json
from typing import ClassVar
from urllib.parse import urljoin

import pytest
from itlc import errors
from itlc.answers import STATUS, problem, relative, status_of
from itlc.errors import PreconditionFailed, invalid
from itlc.fields import View
from itlc.preconditions import IfMatch, etag


class Thing(View):
    """A view with a field that others change."""

    volatile: ClassVar[frozenset[str]] = frozenset({"seen"})
    name: str
    seen: int = 0


@pytest.mark.parametrize(
    ("path", "target"),
    [("/services", "services/5"), ("/bids/7/order", "orders/5"), ("/orders/1/steps", "orders/1/steps/ab")],
)
@pytest.mark.parametrize("base", ["http://h/v1", "http://h:1/_aws/execute-api/abc/v1", "http://h"])
def test_a_location_resolves_against_the_requests_url(base: str, path: str, target: str) -> None:
    assert urljoin(base + path, relative(path, target)) == f"{base}/{target}"


def test_every_refusal_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ItlcError)]
    kinds.remove(errors.ItlcError)
    assert all(status_of(kind.__new__(kind)) != 500 for kind in kinds)
    assert len(kinds) >= len(STATUS)


def test_a_problem_says_what_is_wrong() -> None:
    answer = problem(invalid("amount", "must be above 0"), "the-id")
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert json.loads(answer.body) == {
        "type": "urn:itlc:problem:invalid",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "amount: must be above 0",
        "instance": "the-id",
        "errors": [{"field": "amount", "message": "must be above 0"}],
    }


def test_what_broke_inside_is_not_told() -> None:
    answer = problem(RuntimeError("password=hunter2 at 10.0.0.1"), "the-id")
    assert answer.status == 500
    assert "hunter2" not in answer.body


@pytest.mark.parametrize(
    "error", [errors.StoreAway("itlc_users"), errors.TooMany("slowly", 7), errors.StillRunning("…")]
)
def test_who_may_come_again_is_told_when(error: errors.ItlcError) -> None:
    assert int(problem(error, "id").headers["Retry-After"]) >= 1


def test_an_etag_follows_what_the_owner_can_change() -> None:
    assert etag(Thing(name="a", seen=1)) == etag(Thing(name="a", seen=2))
    assert etag(Thing(name="a")) != etag(Thing(name="b"))


@pytest.mark.parametrize("header", [None, "*", etag(Thing(name="a")), f'"x", {etag(Thing(name="a"))}'])
def test_if_match_lets_the_present_version_through(header: str | None) -> None:
    IfMatch(header).check(Thing(name="a"))


@pytest.mark.parametrize("header", ['"x"', "", "W/", f"W/{etag(Thing(name='a'))}", f"{etag(Thing(name='a'))}x"])
def test_if_match_refuses_another_version(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        IfMatch(header).check(Thing(name="a"))
