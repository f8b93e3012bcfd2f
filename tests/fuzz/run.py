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
from functools import partial
from pathlib import Path

from infra.local.openapi import DOCUMENT
from infra.local.stack import Endpoints
from tests.fuzz.market import PASSWORD, Values, prepare

ROOT = Path(__file__).resolve().parents[2]
HOOKS = "tests.fuzz.hooks"

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
    lines.append("[parameters]")
    bound = {
        **{f"path.{name}": name for name in values},
        **{f"body.{field}": name for field, name in IN_BODIES.items()},
    }
    lines += [f'"{where}" = {{ dictionary = "{name}", probability = 0.6 }}' for where, name in bound.items()]
    return "\n".join(lines) + "\n"


def fuzz(
    api_url: str, endpoints: Endpoints, *more: str, examples: int, seed: int, folder: Path, quiet: bool
) -> tuple[int, str]:
    """Run Schemathesis, with `more` options of its own; returns its exit code, 0 where it found nothing, and what it
    printed (where `quiet`)."""
    values, callers = prepare(api_url, endpoints)
    settings = folder / "schemathesis.toml"
    settings.write_text(configuration(values), encoding="utf-8")
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", settings, "run", DOCUMENT),
        *("--url", api_url, "--max-examples", str(examples), "--seed", str(seed), "--workers", "2"),
        *("--checks", ",".join(CHECKS)),
        *("--continue-on-failure", "--no-color", "--request-timeout", "30", "--suppress-health-check", "all"),
        *more,
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "FUZZ_CALLERS": json.dumps(callers)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        list(map(str, command)), env=environment, cwd=folder, capture_output=quiet, text=True, check=False
    )
    return ran.returncode, (ran.stdout or "") + (ran.stderr or "")


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
        code, _ = fuzz(api_url, endpoints, *more, examples=asked.examples, seed=seed, folder=Path(folder), quiet=False)
    if code:
        say(f"again with the same values: make fuzz FUZZ_EXAMPLES={asked.examples} FUZZ_SEED={seed}")
    return code


if __name__ == "__main__":
    sys.exit(main())
