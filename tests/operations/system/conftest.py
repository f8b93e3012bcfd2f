"""The world that reconciliation is tried on: played once for each file, brought back to how it was for each test."""

from collections.abc import Iterator

import pytest

from tests.operations.system.world import World
from tests.support.stack import Stores


@pytest.fixture(scope="module")
def played_world(all_stores: Stores) -> Iterator[World]:
    """A world, played in stores that were empty."""
    all_stores.empty()
    played = World(all_stores)
    yield played
    played.as_it_was.forget()


@pytest.fixture
def world(played_world: World) -> World:
    """The file's world, as it was when it had just been played."""
    played_world.as_it_was.restore()
    return played_world
