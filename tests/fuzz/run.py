"""Fuzz the deployed API with Schemathesis: `python -m tests.fuzz.run --examples 1000 --seed 7` (or `make fuzz`).

All its phases: the contract's examples, the edges of each schema, values of chance (`--examples` for each operation),
and chains of calls along the contract's links. Whatever is answered has to be in the contract, with its status, content
type, headers and schema, and must not be a 5xx; what the contract forbids must be refused. The stack is one of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.local.openapi import DOCUMENT
from infra.local.stack import Endpoints
from tests.fuzz.market import PASSWORD, Values, prepare

ROOT = Path(__file__).resolve().parents[2]
HOOKS = "tests.fuzz.hooks"
# One thread, so that the same seed makes the same calls in the same order. Several also break Python 3.11 up to 3.11.8,
# whose parser counts the depth of recursion for all threads together ("AST constructor recursion depth mismatch").
WORKERS = 1

# Not among them: that valid data are accepted, for a taken address and a commonest password are valid as well; that an
# unknown method is 405, for the gateway knows no route then, which is our 404; and time, which the benchmark measures.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)
IN_BODIES = {"service_id": "service_id", "template_id": "template_id", "current_password": "password"}
# How a request that is wrong may be refused. 412 and 413 are found before what is wrong is looked at.
REFUSALS = [400, 401, 402, 403, 404, 409, 412, 413, 422, 429]


def configuration(values: Values) -> str:
    """Schemathesis's configuration: more than half of the ids are those of things that there are."""
    lines = ["[generation]", "allow-x00 = true"]
    for name, known in {**values, "password": [PASSWORD]}.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(known)}"]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {REFUSALS}"]
    # The examples come first, and nothing but they touches what was made for the good requests among them.
    lines += ["[phases.examples.extra-data-sources]", "responses = false"]
    lines.append("[parameters]")
    bound = {
        **{f"path.{name}": name for name in values},
        **{f"body.{field}": name for field, name in IN_BODIES.items()},
    }
    lines += [f'"{where}" = {{ dictionary = "{name}", probability = 0.6 }}' for where, name in bound.items()]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Run:
    """What came of it: Schemathesis's exit code, 0 where it found nothing; what it printed (where it was to be
    `quiet`); and how often each operation answered with which status."""

    code: int
    said: str
    answers: dict[str, dict[int, int]]

    def never(self, *first_digits: int) -> list[str]:
        """The operations, in alphabetical order, that never answered with a status that begins so."""
        return [
            name
            for name in sorted(operations())
            if not any(status // 100 in first_digits for status in self.answers.get(name, {}))
        ]


def operations() -> set[str]:
    """The ids of all operations of the contract."""
    paths = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].values()
    return {said["operationId"] for methods in paths for said in methods.values()}


def fuzz(
    api_url: str,
    endpoints: Endpoints,
    *more: str,
    examples: int,
    seed: int,
    folder: Path,
    quiet: bool = False,
    one_edge_of: int = 1,
) -> Run:
    """Run Schemathesis, with `more` options of its own. Of the edges of each schema one of `one_edge_of` is tried."""
    market = prepare(api_url, endpoints)
    settings, counted = folder / "schemathesis.toml", folder / "answers.json"
    settings.write_text(configuration(market.values), encoding="utf-8")
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", settings, "run", DOCUMENT),
        *("--url", api_url, "--max-examples", str(examples), "--seed", str(seed), "--workers", str(WORKERS)),
        *("--checks", ",".join(CHECKS), "--generation-database", "none"),
        *("--continue-on-failure", "--no-color", "--request-timeout", "30", "--suppress-health-check", "all"),
        *more,
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": HOOKS,
        "FUZZ_MARKET": market.for_hooks(),
        "FUZZ_ANSWERS": str(counted),
        "FUZZ_ONE_EDGE_OF": str(one_edge_of),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    ran = subprocess.run(
        list(map(str, command)), env=environment, cwd=folder, capture_output=quiet, text=True, check=False
    )
    answers = json.loads(counted.read_text(encoding="utf-8")) if counted.exists() else {}
    return Run(
        ran.returncode,
        (ran.stdout or "") + (ran.stderr or ""),
        {name: {int(status): count for status, count in counts.items()} for name, counts in answers.items()},
    )


def main() -> int:
    """Start a stack, deploy, fuzz; the exit code is Schemathesis's."""
    from infra.local.deploy import deploy
    from tests.support.stack import running_stack

    read = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0] if __doc__ else None)
    read.add_argument("--examples", type=int, default=1000, help="values of chance for each operation")
    read.add_argument("--seed", type=int, default=0, help="the same seed, the same values; 0: a new one")
    asked, more = read.parse_known_args()  # what else is given is Schemathesis's
    seed = asked.seed or uuid.uuid4().int % 1_000_000
    say = partial(print, file=sys.stderr, flush=True)
    say(f"fuzzing with {asked.examples} examples for each operation, seed {seed}")
    with running_stack() as endpoints, tempfile.TemporaryDirectory() as folder:
        api_url = deploy(endpoints, say).api_url
        ran = fuzz(api_url, endpoints, *more, examples=asked.examples, seed=seed, folder=Path(folder))
    say(f"{sum(sum(counts.values()) for counts in ran.answers.values())} calls were answered")
    say("never answered with a 2xx: " + (", ".join(ran.never(2)) or "none"))
    if ran.code:
        say(f"again with the same values: make fuzz FUZZ_EXAMPLES={asked.examples} FUZZ_SEED={seed}")
    return ran.code


if __name__ == "__main__":
    sys.exit(main())
