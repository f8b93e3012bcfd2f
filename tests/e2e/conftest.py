"""Fixtures of the tests that go over HTTP: the functions, deployed once into the tests' own stack."""

from collections.abc import Iterator

import httpx
import pytest

from infra.local.deploy import Deployment, deploy
from infra.local.stack import Endpoints


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
