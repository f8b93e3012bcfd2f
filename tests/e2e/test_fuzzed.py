"""A small share of what `make fuzz` does: Schemathesis against the deployed API, always with the same values."""

import json
from pathlib import Path

import pytest

from infra.local.openapi import DOCUMENT
from infra.local.stack import Endpoints
from tests.fuzz.run import fuzz

EXAMPLES, SEED = 5, 2026


@pytest.mark.timeout(1800)
def test_whatever_is_asked_the_answer_is_in_the_contract(api_url: str, endpoints: Endpoints, tmp_path: Path) -> None:
    code, said = fuzz(api_url, endpoints, examples=EXAMPLES, seed=SEED, folder=tmp_path, quiet=True)
    assert code == 0, said
    operations = sum(len(methods) for methods in json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].values())
    assert f"Tested: {operations}\n" in said, said
