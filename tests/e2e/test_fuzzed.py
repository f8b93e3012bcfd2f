"""A share of what `make fuzz` does: Schemathesis against the deployed API, by the same values each time."""

from pathlib import Path

import pytest

from infra.local.stack import Endpoints
from tests.fuzz.run import fuzz, operations

EXAMPLES, ONE_EDGE_OF, SEED = 1, 8, 2026


@pytest.mark.timeout(1800)
def test_whatever_is_asked_the_answer_is_in_the_contract(api_url: str, endpoints: Endpoints, tmp_path: Path) -> None:
    ran = fuzz(api_url, endpoints, examples=EXAMPLES, seed=SEED, folder=tmp_path, quiet=True, one_edge_of=ONE_EDGE_OF)
    assert ran.code == 0, ran.said
    assert ran.answers.keys() == operations()
    assert f"Tested: {len(operations())}\n" in ran.said, ran.said
    unseen = {name: ran.answers[name] for name in ran.never(2)}
    assert unseen == {}, f"no answer to a good request was looked at: {unseen}"
