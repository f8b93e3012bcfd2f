"""A process that dies between any two effects loses nothing and doubles nothing.

Each path is run once undisturbed: what it comes to, and where its effects are. Then once more for every boundary
between two of them, in a process that dies just there; the request comes again, the relay, the jobs and the queues do
their work, in either order; and then the stores must show what they show when nothing went wrong, and every invariant.
"""

import os
from collections.abc import Callable

import pytest

from tests.faults.dying import survives
from tests.faults.paths import PATHS
from tests.faults.scale import scaled
from tests.support.stack import Stores

ROUNDS = scaled(full=int(os.environ.get("CRASH_ROUNDS", "20")), share=1)
EVERY = scaled(full=1, share=4)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.timeout(7200)
def test_a_process_that_dies_anywhere_changes_nothing_in_the_end(
    name: str, all_stores: Stores, record_property: Callable[[str, object], None]
) -> None:
    record_property("points", len(survives(name, all_stores, rounds=ROUNDS, every=EVERY)) + 1)
