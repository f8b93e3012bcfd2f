"""The matrix of rights, cell by cell, for people, their tokens and notifications, what providers write, the system."""

from tests.security.cast import Actor, Cast
from tests.security.matrix import Row, cells, check
from tests.security.table import ROWS


@cells(ROWS, "accounts", "wallet", "notifications", "content", "system")
def test_each_gets_what_is_theirs_and_nothing_else(row_and_cast: tuple[Row, Cast], actor: Actor) -> None:
    check(*row_and_cast, actor)
