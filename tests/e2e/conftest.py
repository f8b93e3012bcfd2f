"""Fixtures of the tests that go over HTTP: a stack of their own, with the functions deployed into it.

It is not the one that the worker's other tests share: what is deployed works by itself, on schedules and from queues,
and would take part in them.
"""

from collections.abc import Iterator

import httpx
import pytest

from infra.local.deploy import Deployment, deploy
from infra.local.stack import Endpoints
from tests.support.stack import Stores, running_stack


@pytest.fixture(scope="session")
def endpoints() -> Iterator[Endpoints]:
    """A migrated stack for what is deployed. This process is not set up as one of its functions."""
    with running_stack() as running:
        yield running


@pytest.fixture(scope="session")
def all_stores(endpoints: Endpoints) -> Stores:
    """That stack's stores, as their owner sees them. They are not emptied between tests."""
    return Stores(endpoints)


@pytest.fixture(scope="session")
def deployment(endpoints: Endpoints) -> Deployment:
    """What is deployed: the API's URL and the queues'. Deployed when a test first asks for it."""
    return deploy(endpoints, lambda text: None)


@pytest.fixture(scope="session")
def api_url(deployment: Deployment) -> str:
    """The API's URL, without a slash at its end."""
    return deployment.api_url


@pytest.fixture
def http(api_url: str) -> Iterator[httpx.Client]:
    """A client of the API: `http.get("/health")`. The first call of a function takes a second."""
    with httpx.Client(base_url=api_url, timeout=30) as client:
        yield client
