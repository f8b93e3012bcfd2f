"""Fixtures for all: the stores, started once per worker when a test first asks for them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from infra.local.stack import Endpoints

if TYPE_CHECKING:
    from tests.support.stack import Stores


@pytest.fixture(scope="session")
def endpoints() -> Iterator[Endpoints]:
    """A migrated stack of the worker's own, with this process set up as a function."""
    from tests.support.stack import point_functions_at, running_stack

    with running_stack() as running:
        point_functions_at(running)
        yield running


@pytest.fixture(scope="session")
def all_stores(endpoints: Endpoints) -> "Stores":
    """The stores, as their owner sees them."""
    from tests.support.stack import Stores

    return Stores(endpoints)


@pytest.fixture
def stores(all_stores: "Stores") -> "Stores":
    """Empty stores."""
    all_stores.empty()
    return all_stores
