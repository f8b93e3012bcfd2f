"""The people of the matrix: made once for each of its rows, which all of its cells then call."""

import pytest

from tests.security.cast import Cast
from tests.security.matrix import Row
from tests.support.stack import Stores


@pytest.fixture(scope="module")
def row_and_cast(request: pytest.FixtureRequest, all_stores: Stores) -> tuple[Row, Cast]:
    """A row of the matrix, and its people in stores that were empty."""
    all_stores.empty()
    return request.param, Cast(all_stores)
