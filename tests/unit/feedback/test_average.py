"""The mean of a service's marks."""

import pytest
from itlc.feedback.model import average


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        ({}, None),
        ({1: 0, 5: 0}, None),
        ({5: 1}, 5.0),
        ({1: 1, 5: 1}, 3.0),
        ({4: 2, 5: 1}, 4.33),
        ({1: 1, 2: 2}, 1.67),
    ],
)
def test_it_is_the_mean_to_two_places(distribution: dict[int, int], mean: float | None) -> None:
    assert average(distribution) == mean
