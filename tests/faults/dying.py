"""One path, cut off at its boundaries: what it comes to must be what it comes to undisturbed."""

import itertools

from tests.faults.aftermath import all_holds, recover, seen
from tests.faults.boundaries import die_before, effects_of
from tests.faults.paths import PATHS, Begin, Market, run_through
from tests.support.stack import Stores

DONE_BEFORE = {"erase_who_has_tokens": 401, "withdraw_a_bid": 409, "delete_a_project": 404}
"""What a request without a key is answered that comes again after its work was done."""
TOLD_EACH_TIME = {"define_a_plan"}
"""A request without a key whose repetition is another act: it comes again once only."""


def survives(name: str, stores: Stores, *, rounds: int = 1, every: int = 1) -> list[str]:
    """Assert that a process may die at every boundary of the path (or at each `every`-th), so many rounds over.

    Where the request comes again at once in one round, in the next it comes only after the relay, the jobs and the
    queues have done all that they can. Returns the effects of the path: it has one point more.
    """
    prepare = PATHS[name]
    undisturbed = prepare(Market.opened(stores))
    first = run_through(undisturbed)
    status = first.status if first else None
    recover(stores)
    once = seen(stores)
    again = DONE_BEFORE.get(name, status)
    assert _status(undisturbed) == again, f"{name}: asked again, undisturbed"
    recover(stores)
    twice = seen(stores)
    assert (once == twice) == (name not in TOLD_EACH_TIME)
    all_holds(stores)

    begin = prepare(Market.opened(stores))
    effects = effects_of(lambda begin=begin: run_through(begin))  # type: ignore[misc]
    assert len(effects) > 1, effects
    for number, (turn, point) in enumerate(itertools.product(range(rounds), range(0, len(effects) + 1, every))):
        begin = prepare(Market.opened(stores))
        die_before(point, lambda begin=begin: run_through(begin))  # type: ignore[misc]
        where = f"{name}: died before {[*effects, 'the end'][point]} (point {point})"
        if (turn + point // every) % 2 and name not in TOLD_EACH_TIME:
            early = begin()
            assert early is None or early.status < 500, f"{where}: {early.text}"
        recover(stores)
        assert _status(begin) in {status, again}, where
        recover(stores)
        assert seen(stores) in (once, twice), where
        if number % every == 0:
            _all_holds(stores, where)
    return effects


def _status(begin: Begin) -> int | None:
    answer = begin()
    return answer.status if answer else None


def _all_holds(stores: Stores, where: str) -> None:
    try:
        all_holds(stores)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
