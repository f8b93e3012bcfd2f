"""The order's states, check-ins, and how a project stands by its orders."""

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itlc.errors import Conflict
from itlc.orders import model
from itlc.orders.model import Act, CheckinStatus, Status
from itlc.orders.tables import CHECKINS, STATUSES

ACTS: tuple[Act, ...] = get_args(Act)


def test_the_tables_and_the_rules_know_the_same_words() -> None:
    assert set(get_args(Status)) == set(STATUSES)
    assert set(get_args(CheckinStatus)) == set(CHECKINS) == set(model.CHECKIN_ACTS)
    assert set(ACTS) == set(model.MOVES)


def test_an_order_goes_from_created_to_refunded() -> None:
    way: list[Status] = ["created", "in_progress", "completed", "paying", "paid", "refunded"]
    acts: list[Act] = ["start", "complete", "pay", "settle", "refund"]
    assert [model.after(status, act) for status, act in zip(way, acts, strict=False)] == way[1:]


LEGAL = {
    ("created", "start"),
    ("created", "cancel"),
    ("in_progress", "continue"),
    ("in_progress", "complete"),
    ("in_progress", "cancel"),
    ("completed", "pay"),
    ("completed", "waive"),
    ("paying", "settle"),
    ("paying", "decline"),
    ("paid", "refund"),
}


@pytest.mark.parametrize(("status", "act"), sorted(set(product(STATUSES, ACTS)) - LEGAL))
def test_every_other_move_is_refused_saying_what_is_possible(status: Status, act: Act) -> None:
    with pytest.raises(Conflict) as refused:
        model.after(status, act)
    assert f"the order is {status}" in refused.value.detail
    assert "ossible now" in refused.value.detail


@given(st.lists(st.sampled_from(CHECKINS), max_size=8))
def test_checkins_are_started_once_first_then_any_then_completed_once_last(row: list[CheckinStatus]) -> None:
    status: Status = "created"
    try:
        for checkin in row:
            status = model.after_checkin(status, checkin)
        taken = True
    except Conflict:
        taken = False
    starts_once = row[:1] in ([], ["started"]) and "started" not in row[1:]
    ends_once = "completed" not in row[:-1]
    assert taken == (starts_once and ends_once)
    if taken:
        assert status == ("created" if not row else "completed" if row[-1] == "completed" else "in_progress")


@pytest.mark.parametrize("status", ["completed", "paying", "paid", "refunded", "cancelled"])
def test_there_is_no_checkin_after_the_work_has_ended(status: Status) -> None:
    assert model.checkins_now(status) == []


def test_a_refused_checkin_names_those_that_are_possible() -> None:
    with pytest.raises(Conflict, match=r"`completed` is not possible: the order is created.*: check in `started`"):
        model.after_checkin("created", "completed")
    with pytest.raises(Conflict, match=r"Nothing is possible now"):
        model.after_checkin("cancelled", "started")


@pytest.mark.parametrize(
    ("orders", "status"),
    [
        ([], "open"),
        (["cancelled"], "open"),
        (["created"], "in_progress"),
        (["in_progress", "completed"], "in_progress"),
        (["created", "paid"], "in_progress"),
        (["completed"], "completed"),
        (["completed", "cancelled"], "completed"),
        (["completed", "paid"], "completed"),
        (["paying", "paid"], "completed"),
        (["paid", "refunded", "cancelled"], "paid"),
        (["refunded"], "paid"),
    ],
)
def test_a_project_stands_by_its_orders(orders: list[Status], status: str) -> None:
    assert model.project_status(orders) == status
