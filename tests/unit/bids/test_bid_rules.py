"""What may be done with a bid."""

from typing import get_args

import pytest
from itlc.bids import model
from itlc.bids.model import Status
from itlc.bids.tables import STATUSES
from itlc.errors import Conflict


def test_the_table_and_the_rules_know_the_same_words() -> None:
    assert get_args(Status) == STATUSES


def test_only_open_bids_change() -> None:
    model.must_be_open("open", "withdrawn")
    for status in ("rejected", "withdrawn", "expired"):
        with pytest.raises(Conflict, match=f"is {status}: only an open bid can be withdrawn"):
            model.must_be_open(status, "withdrawn")
    with pytest.raises(Conflict, match="become an order already"):
        model.must_be_open("won", "rejected")


def test_nobody_bids_on_their_own_service() -> None:
    model.must_not_be_own(1, 2)
    with pytest.raises(Conflict, match="your own"):
        model.must_not_be_own(2, 2)
