"""What a reconciliation compares, row by row, and how it walks two stores side by side."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from itlc.system.findings import MOST_NAMED, Tally, batches, side_by_side
from itlc.system.messages import contradicted
from itlc.system.money import wrong_escrow, wrong_refund, wrong_topups
from itlc.system.references import wrong_project, wrong_rating


def walked(left: Any, right: Any) -> list[tuple[list[Any], list[Any]]]:
    """Two streams of pairs, walked by the first of each pair."""
    return list(side_by_side(left, right, lambda row: row[0], lambda row: row[0]))


def test_rows_of_one_key_stand_side_by_side() -> None:
    left, right = [(1, "a"), (2, "b"), (4, "c"), (4, "d")], [(2, "x"), (3, "y"), (4, "z"), (9, "w")]
    assert walked(left, right) == [
        ([(1, "a")], []),
        ([(2, "b")], [(2, "x")]),
        ([], [(3, "y")]),
        ([(4, "c"), (4, "d")], [(4, "z")]),
        ([], [(9, "w")]),
    ]
    assert walked([], []) == []


def test_a_stream_that_is_not_sorted_is_refused() -> None:
    with pytest.raises(ValueError, match="1 comes after 2"):
        walked([(2, "a"), (1, "b")], [(3, "x")])
    with pytest.raises(ValueError, match="not sorted"):
        walked([], [(3, "x"), (2, "y")])


def test_no_more_is_read_than_is_compared() -> None:
    read = 0

    def endless() -> Iterator[tuple[int, str]]:
        nonlocal read
        while True:
            read += 1
            yield read, "row"

    pairs = side_by_side(endless(), endless(), lambda row: row[0], lambda row: row[0])
    for _ in range(1000):
        next(pairs)
    assert read <= 2 * 1000 + 4


def test_all_are_counted_and_the_first_hundred_named() -> None:
    tally = Tally()
    tally.look(500)
    for number in range(150):
        tally.report(f"order:{number}")
    finding = tally.finding("name", "Says.")
    assert (finding.state, finding.looked_at, finding.broken, len(finding.rows)) == ("broken", 500, 150, MOST_NAMED)
    assert finding.rows[-1] == "order:99"
    assert Tally(looked_at=3).finding("name", "Says.").state == "holds"


def test_batches() -> None:
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []


def test_what_is_said_of_one_id_is_compared_wherever_it_stands() -> None:
    one, two, three = (uuid.UUID(int=number) for number in (1, 2, 3))

    def said(**hashes: str) -> Any:
        ids = {"one": one, "two": two, "three": three}
        return SimpleNamespace(ids=b"".join(ids[name].bytes + text.encode() * 32 for name, text in hashes.items()))

    assert contradicted([said(one="a", two="b"), said(two="b"), said(one="a", three="a"), said()]) == []
    assert contradicted([said(two="b", three="b"), said(three="c", one="a"), said(one="d")]) == [one, three]
    assert contradicted([]) == []


def topup(status: str) -> Any:
    return SimpleNamespace(id=7, user_id=1, amount=5, status=status)


def credit(**fields: Any) -> Any:
    row = {"id": "t", "kind": "topup", "debit_account": "house:topups", "credit_user_id": 1, "tokens": 5}
    return SimpleNamespace(**{**row, "young": False, "recent": False, **fields})


@pytest.mark.parametrize(
    ("asked", "credits", "wrong"),
    [
        (topup("completed"), [credit()], []),
        (topup("completed"), [], ["topup:7"]),
        (topup("completed"), [credit(), credit()], ["topup:7"]),
        (topup("completed"), [credit(tokens=6)], ["topup:7"]),
        (topup("completed"), [credit(credit_user_id=2)], ["topup:7"]),
        (topup("completed"), [credit(kind="refund")], ["topup:7"]),
        (topup("completed"), [credit(debit_account="user:3")], ["topup:7"]),
        (topup("pending"), [], []),
        (topup("pending"), [credit(recent=True)], []),
        (topup("pending"), [credit(recent=True, tokens=6)], ["topup:7"]),
        (topup("pending"), [credit()], ["topup:7"]),
        (topup("failed"), [], []),
        (topup("failed"), [credit(recent=True, young=True)], ["topup:7"]),
        (None, [credit(young=True)], []),
        (None, [credit(), credit(id="u")], ["transfer:t", "transfer:u"]),
    ],
)
def test_topups(asked: Any, credits: list[Any], wrong: list[str]) -> None:
    assert list(wrong_topups(asked, credits)) == wrong


def share(status: str) -> Any:
    return SimpleNamespace(account="escrow", status=status, customer_id=1, provider_user_id=2, tokens=5)


def escrow(**fields: Any) -> Any:
    """An escrow that user 1 filled with 5 tokens, and that was emptied to user 2."""
    row = {"times_in": 1, "times_out": 1, "tokens": 5, "held": 0, "payer_id": 1, "payee_id": 2}
    return SimpleNamespace(**{**row, "forfeited": False, "young": False, **fields})


FORFEITED = {"payee_id": None, "forfeited": True}
FULL = {"times_out": 0, "held": 5, "payee_id": None}


@pytest.mark.parametrize(
    ("part", "held", "wrong"),
    [
        (share("settled"), escrow(), False),
        (share("settled"), escrow(**FULL), False),
        (share("settled"), None, True),
        (share("settled"), escrow(payee_id=1), True),
        (share("settled"), escrow(**FORFEITED), True),
        (share("declined"), escrow(**FORFEITED), True),
        (share("paying"), escrow(**FORFEITED, young=True), True),
        (share("settled"), escrow(payer_id=3), True),
        (share("settled"), escrow(tokens=6), True),
        (share("settled"), escrow(times_in=2), True),
        (share("settled"), escrow(times_out=2), True),
        (share("settled"), escrow(held=1), True),
        (share("declined"), None, False),
        (share("declined"), escrow(payee_id=1), False),
        (share("declined"), escrow(), True),
        (share("paying"), None, False),
        (share("paying"), escrow(**FULL), False),
        (share("paying"), escrow(young=True), False),
        (share("paying"), escrow(), True),
        (share("paying"), escrow(payee_id=3, young=True), True),
        (None, escrow(young=True), False),
        (None, escrow(), True),
    ],
)
def test_escrows(part: Any, held: Any, wrong: bool) -> None:
    assert wrong_escrow(part, held) is wrong


@pytest.mark.parametrize(
    ("status", "erased", "wrong"),
    [
        ("settled", {2}, False),
        ("settled", {1}, True),
        ("declined", {1}, False),
        ("declined", {2}, True),
        ("paying", {1}, False),
        ("paying", {2}, False),
        ("paying", {3}, True),
    ],
)
def test_an_escrow_is_forfeited_only_for_who_is_erased(status: str, erased: set[int], wrong: bool) -> None:
    assert wrong_escrow(share(status), escrow(**FORFEITED, young=status == "paying"), erased) is wrong


def refunded(**fields: Any) -> Any:
    """An order of 10.00, paid with 10 tokens, of which 4 were given back."""
    row = {"id": 1, "user_id": 1, "provider_user_id": 2, "status": "paid", "amount": 10, "charged": 10}
    back = {"refunded_amount": 4, "refunded_tokens": 4, "settled_amount": 4, "settled_tokens": 4, "open_tokens": 0}
    return SimpleNamespace(**{**row, **back, **fields})


def moved(tokens: int, **fields: Any) -> Any:
    row = {"tokens": tokens, "payer_id": 2, "last_payer_id": 2, "payee_id": 1, "last_payee_id": 1, "young": False}
    return SimpleNamespace(**{**row, **fields})


@pytest.mark.parametrize(
    ("order", "given_back", "wrong"),
    [
        (refunded(), moved(4), False),
        (refunded(), moved(3), True),
        (refunded(), moved(5), True),
        (refunded(), moved(5, young=True), False),
        (refunded(open_tokens=3), moved(7), False),
        (refunded(), None, True),
        (refunded(), moved(4, payee_id=3), True),
        (refunded(), moved(4, last_payer_id=3), True),
        (refunded(refunded_tokens=5), moved(4), True),
        (refunded(refunded_amount=5), moved(4), True),
        (refunded(charged=3), moved(4), True),
        (refunded(status="refunded"), moved(4), True),
        (refunded(amount=4, status="refunded"), moved(4), False),
        (refunded(amount=4), moved(4), True),
        (None, moved(4, young=True), False),
        (None, moved(4), True),
    ],
)
def test_refunds(order: Any, given_back: Any, wrong: bool) -> None:
    assert wrong_refund(order, given_back) is wrong


NOW = datetime.now(UTC)


def progress(status: str, version: int, **fields: Any) -> Any:
    row = {"project_id": "a", "status": status, "version": version, "counted": status}
    return SimpleNamespace(**{**row, "young": False, "recent": False, **fields})


def shown(status: str, version: int, *, minutes: float = 60) -> dict[str, Any]:
    return {"status": status, "status_version": version, "updated_at": NOW - timedelta(minutes=minutes)}


@pytest.mark.parametrize(
    ("counted", "document", "wrong"),
    [
        (progress("paid", 3), shown("paid", 3), False),
        (progress("paid", 3), shown("completed", 3), True),
        (progress("paid", 3), shown("completed", 2), True),
        (progress("paid", 3, recent=True), shown("completed", 2), False),
        (progress("paid", 3, recent=True), shown("completed", 3), True),
        (progress("paid", 3), shown("completed", 4), True),
        (progress("paid", 3), shown("completed", 4, minutes=1), False),
        (progress("paid", 3, counted="completed"), shown("paid", 3), True),
        (progress("paid", 3), None, True),
        (progress("paid", 3, recent=True), None, True),
        (progress("paid", 3, recent=True, young=True), None, False),
        (None, shown("open", 0), False),
        (None, shown("paid", 0), True),
        (None, shown("in_progress", 1, minutes=1), False),
    ],
)
def test_projects(counted: Any, document: Any, wrong: bool) -> None:
    assert wrong_project(counted, document, NOW - timedelta(minutes=2)) is wrong


def counted(**fields: Any) -> Any:
    """What a service counted of a rating's second version."""
    return SimpleNamespace(**{"service_id": 7, "rating": 4, "version": 2, **fields})


def given(*, minutes: float = 60, **fields: Any) -> dict[str, Any]:
    row = {"service_id": 7, "user_id": 1, "rating": 4, "version": 2}
    return {**row, "updated_at": NOW - timedelta(minutes=minutes), **fields}


ANONYMOUS: dict[str, Any] = {"user_id": None, "version": 3}


@pytest.mark.parametrize(
    ("row", "document", "wrong"),
    [
        (counted(), given(), False),
        (counted(), None, True),
        (None, given(), True),
        (None, given(minutes=14), False),
        (counted(version=1), given(), True),
        (counted(version=1, rating=3), given(minutes=14), False),
        (counted(version=3), given(minutes=14), True),
        (counted(rating=3), given(minutes=14), True),
        (counted(service_id=8), given(minutes=14), True),
        (counted(), given(**ANONYMOUS), False),
        (counted(rating=3), given(**ANONYMOUS), True),
        (counted(version=1), given(**ANONYMOUS), True),
        (counted(version=3), given(**ANONYMOUS), False),
        (None, given(user_id=None, version=2), True),
    ],
)
def test_ratings(row: Any, document: Any, wrong: bool) -> None:
    assert wrong_rating(row, document, NOW - timedelta(minutes=15)) is wrong
