"""What holds for ratings. No I/O."""

from collections.abc import Mapping

RATABLE = frozenset({"completed", "paying", "paid", "refunded"})
"""An order is rated once it is completed, whatever becomes of its payment."""

MARKS = range(1, 6)


def average(distribution: Mapping[int, int]) -> float | None:
    """The mean of the marks, to two places, by how often each was given; None where none was."""
    count = sum(distribution.values())
    if not count:
        return None
    return round(sum(mark * times for mark, times in distribution.items()) / count, 2)
