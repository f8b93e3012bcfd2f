"""Who calls which operation: Schemathesis loads this module (see `tests.fuzz.run`)."""

import json
import os
from typing import Any

import httpx
import schemathesis

from tests.fuzz.market import Session, register

# Whoever calls these is not the same afterwards, so each call is made by somebody new.
ONCE_ONLY = {"sign_out", "change_me", "change_password", "erase_me"}


@schemathesis.auth(refresh_interval=None)
class Callers:
    """Who calls: a provider, who is a customer too; an administrator where only they may; else nobody known before."""

    def __init__(self) -> None:
        known = json.loads(os.environ["FUZZ_CALLERS"])
        self.http = httpx.Client(base_url=known["api_url"], timeout=30)
        self.player = Session.begin(self.http, known["player"])
        self.admin = Session.begin(self.http, known["admin"])

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        """The access token for a call."""
        said = context.operation.definition.raw
        if said["operationId"] in ONCE_ONLY:
            return Session.begin(self.http, register(self.http, "Once")[1]).token()
        return (self.admin if said["description"].endswith("For administrators.") else self.player).token()

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        """Send it along."""
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """Send every header as text: a chain of calls may put a resource's number into one."""
    case.headers.update({name: str(value) for name, value in case.headers.items() if isinstance(value, int | float)})
