"""The matrix of rights, cell by cell, for the market: providers, services, templates, bids, ratings and reviews."""

from tests.security.cast import Actor, Cast
from tests.security.matrix import Row, cells, check
from tests.security.table import ROWS


@cells(ROWS, "catalog", "templates", "bids", "feedback")
def test_each_gets_what_is_theirs_and_nothing_else(row_and_cast: tuple[Row, Cast], actor: Actor) -> None:
    check(*row_and_cast, actor)
