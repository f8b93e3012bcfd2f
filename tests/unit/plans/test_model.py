"""The rules of a plan, against references so plain that one sees they are right."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itlc.errors import Conflict, Invalid
from itlc.plans import model
from itlc.plans.model import Step

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_step(number: int, *after: int, hours: float = 1.0, done: bool = False) -> Step:
    return Step(
        id=str(number),
        order_id=1,
        step_number=number,
        description=f"Part {number}",
        requirements="",
        notified_personnel=(),
        depends_on=tuple(sorted(after)),
        duration_hours=hours,
        created_at=NOW,
        completed_at=NOW if done else None,
    )


@st.composite
def plans(draw: st.DrawFn, most: int = 7) -> list[Step]:
    """A valid plan, whose dependencies follow a hidden order that is not that of the numbers; what is complete
    depends on complete steps only."""
    order = draw(st.permutations(range(1, draw(st.integers(0, most)) + 1)))
    steps: dict[int, Step] = {}
    for position, number in enumerate(order):
        after = draw(st.sets(st.sampled_from(order[:position]))) if position else set()
        can_be_done = all(steps[other].complete for other in after)
        hours = draw(st.sampled_from([0.1, 0.2, 0.3, 1.0, 2.5]))
        steps[number] = a_step(number, *after, hours=hours, done=can_be_done and draw(st.booleans()))
    return [steps[number] for number in sorted(steps)]


def chains(steps: Sequence[Step]) -> list[list[int]]:
    """Every chain of the plan, each step followed by one that depends on it."""
    found: list[list[int]] = []

    def go_on(chain: list[int]) -> None:
        found.append(chain)
        for step in steps:
            if chain[-1] in step.depends_on:
                go_on([*chain, step.step_number])

    for step in steps:
        go_on([step.step_number])
    return found


def hours_of(chain: Sequence[int], steps: Sequence[Step]) -> Fraction:
    return sum((Fraction(str(steps[number - 1].duration_hours)) for number in chain), Fraction())


@given(plans())
def test_a_steps_layer_is_the_length_of_the_longest_chain_before_it(steps: list[Step]) -> None:
    every = chains(steps)
    expected: dict[int, list[int]] = {}
    for step in steps:
        longest = max(len(chain) for chain in every if chain[-1] == step.step_number)
        expected.setdefault(longest - 1, []).append(step.step_number)
    assert model.layers(steps) == [expected[layer] for layer in sorted(expected)]
    assert sorted(expected) == list(range(len(expected)))


@given(plans())
def test_the_critical_path_is_the_first_of_the_chains_that_take_longest(steps: list[Step]) -> None:
    every = chains(steps)
    longest = max((hours_of(chain, steps) for chain in every), default=Fraction())
    path = model.critical_path(steps)
    assert path == min((chain for chain in every if hours_of(chain, steps) == longest), default=[])
    assert Fraction(str(model.duration_hours(steps, path))) == longest


@given(plans())
def test_progress_ready_and_blocked_share_out_the_steps(steps: list[Step]) -> None:
    done = {step.step_number for step in steps if step.complete}
    ready = [s.step_number for s in steps if s.step_number not in done and done >= set(s.depends_on)]
    blocked = [s.step_number for s in steps if s.step_number not in done and not done >= set(s.depends_on)]
    assert (model.ready(steps), model.blocked(steps)) == (ready, blocked)
    assert model.progress(steps) == (len(done) / len(steps) if steps else 0)


@given(plans())
def test_completing_makes_ready_what_was_blocked_before_and_is_ready_after(steps: list[Step]) -> None:
    for number in model.ready(steps):
        after = [replace(step, completed_at=NOW) if step.step_number == number else step for step in steps]
        newly = set(model.ready(after)) & set(model.blocked(steps))
        assert [step.step_number for step in model.made_ready(number, steps)] == sorted(newly)


@given(plans())
def test_valid_plans_pass_in_whatever_order_they_are_written(steps: list[Step]) -> None:
    model.check_plan(steps)
    model.check_plan(steps[::-1])


@given(st.lists(st.lists(st.integers(1, 6), unique=True, max_size=4), min_size=1, max_size=6))
def test_exactly_the_plans_with_a_way_back_to_a_step_have_a_cycle(listed: list[list[int]]) -> None:
    depends_on = {number: [n for n in after if n <= len(listed)] for number, after in enumerate(listed, start=1)}
    reach = {number: set(after) for number, after in depends_on.items()}
    for _ in depends_on:
        reach = {number: after | {far for near in after for far in reach[near]} for number, after in reach.items()}
    cycle = model.cycle_in(depends_on)
    assert bool(cycle) == any(number in after for number, after in reach.items())
    assert all(following in depends_on[number] for number, following in pairwise([*cycle, *cycle[:1]]))
    assert len(set(cycle)) == len(cycle)
    assert not cycle or cycle[0] == min(cycle)


@given(st.lists(st.integers(1, 9), max_size=9))
def test_exactly_the_numbers_1_to_n_pass(numbers: list[int]) -> None:
    steps = [a_step(number) for number in numbers]
    if sorted(numbers) == list(range(1, len(numbers) + 1)):
        model.check_plan(steps)
    else:
        with pytest.raises(Invalid) as refused:
            model.check_plan(steps)
        named = " ".join(error.message for error in refused.value.errors)
        missing = set(range(1, max(numbers))) - set(numbers)
        repeated = {number for number in numbers if numbers.count(number) > 1}
        assert all(str(number) in named for number in missing | repeated)


@given(st.integers(1, 8), st.data())
def test_numbers_move_as_in_a_list(count: int, data: st.DataObject) -> None:
    names = [f"step {n}" for n in range(1, count + 1)]
    at = data.draw(st.integers(1, count + 1))
    longer = [*names[: at - 1], "new", *names[at - 1 :]]
    for number, name in enumerate(names, start=1):
        assert longer[model.number_after_insertion(number, at) - 1] == name


def test_a_plan_without_steps() -> None:
    assert (model.layers([]), model.critical_path([]), model.progress([])) == ([], [], 0)
    assert model.duration_hours([], []) == 0
    model.check_plan([])


def test_hours_add_up_in_decimals() -> None:
    steps = [a_step(1, hours=0.1), a_step(2, 1, hours=0.2), a_step(3, hours=0.3)]
    assert model.critical_path(steps) == [1, 2], "0.1 and 0.2 are 0.3, and of equals the lower number goes first"
    assert model.duration_hours(steps, [1, 2]) == 0.3


def test_a_long_chain_needs_no_recursion() -> None:
    steps = [a_step(number, *([number - 1] if number > 1 else [])) for number in range(1, 3001)]
    assert len(model.layers(steps)) == len(model.critical_path(steps)) == 3000
    steps[0] = a_step(1, 3000)
    assert len(model.cycle_in({step.step_number: step.depends_on for step in steps})) == 3000


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([2], "step 2"), ([1, 2], "steps 1 and 2"), ([1, 2, 5], "steps 1, 2 and 5")],
)
def test_numbers_are_spoken(numbers: list[int], said: str) -> None:
    assert model.spoken(numbers) == said
    assert model.spoken(range(1, 31)).endswith("10 and 20 more")


@pytest.mark.parametrize(
    ("hours", "said"), [(1.0, "1 h"), (12.5, "12.5 h"), (1e6, "1,000,000 h"), (100.0, "100 h"), (1e-9, "under 0.01 h")]
)
def test_hours_are_spoken(hours: float, said: str) -> None:
    assert model.spoken_hours(hours) == said


@pytest.mark.parametrize("status", ["completed", "paying", "paid", "refunded", "cancelled"])
def test_closed_orders_are_left_alone(status: str) -> None:
    with pytest.raises(Conflict, match=status):
        model.check_plannable(status)
    with pytest.raises(Conflict, match=status):
        model.check_workable(status)
