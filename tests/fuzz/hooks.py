"""Who calls which operation: Schemathesis loads this module (see `tests.fuzz.run`)."""

import atexit
import json
import os
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from schemathesis import auths

from tests.fuzz.market import Session, register

# Whoever calls these is not the same afterwards, so each call is made by somebody new.
ONCE_ONLY = {"become_provider", "sign_out", "change_me", "change_password", "erase_me"}
MARKET = json.loads(os.environ["FUZZ_MARKET"])
ONE_EDGE_OF = int(os.environ.get("FUZZ_ONE_EDGE_OF", "1"))
RESERVED = {(name, value) for good in MARKET["good"].values() for name, value in good["ids"].items()}
"""What was made for the good requests: the paths' parameters, each with an id. The examples come before all else."""

edges: Counter[str] = Counter()
answers: defaultdict[str, Counter[int]] = defaultdict(Counter)


http = httpx.Client(base_url=MARKET["api_url"], timeout=30)
player, admin = (Session.begin(http, MARKET[name]) for name in ("player", "admin"))


@schemathesis.auth(refresh_interval=None)
class Callers:
    """Who calls: a provider, who is a customer too; an administrator where only they may; else nobody known before."""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        """The access token for a call."""
        said = context.operation.definition.raw
        if said["operationId"] in ONCE_ONLY:
            return Session.begin(http, register(http, "Once")[1]).token()
        return (admin if said["description"].endswith("For administrators.") else player).token()

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        """Send it along."""
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Send every header as text: a chain of calls may put a resource's number into one."""
    case.headers.update({name: str(value) for name, value in case.headers.items() if isinstance(value, int | float)})


@schemathesis.hook
def before_add_examples(context: schemathesis.HookContext, examples: list[schemathesis.Case[Any]]) -> None:
    """To an operation's examples add the request that the market has for it. Those of the contract that happen to name
    what was made for such a request are left out, for they could spoil it (a cancelled order cannot be planned)."""
    assert context.operation is not None
    said = context.operation.definition.raw
    examples[:] = [case for case in examples if RESERVED.isdisjoint((case.path_parameters or {}).items())]
    good = MARKET["good"].get(said["operationId"])
    if good is None:
        return
    headers = {"Idempotency-Key": str(uuid.uuid4())} if context.operation.method == "post" else {}
    body = {} if good["body"] is None else {"body": good["body"], "media_type": "application/json"}
    case = context.operation.Case(path_parameters=good["ids"], headers=headers, **body)
    auths.set_on_case(case, schemathesis.AuthContext(operation=context.operation, app=None), None)
    examples.append(case)


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Of the edges of an operation's schema keep the first, and then one of so many: for the share in `make test`."""
    if case.meta is None or case.meta.phase.name != "coverage":
        return True
    name = case.operation.definition.raw["operationId"]
    edges[name] += 1
    return edges[name] % ONE_EDGE_OF == 1 % ONE_EDGE_OF


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], response: schemathesis.Response
) -> None:
    """Count what each operation answers."""
    answers[case.operation.definition.raw["operationId"]][response.status_code] += 1


@atexit.register
def write_down() -> None:
    """Leave the counts for `tests.fuzz.run`."""
    Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(answers), encoding="utf-8")
