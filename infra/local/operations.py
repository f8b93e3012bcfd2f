"""Every operation of this checkout, imported: what the OpenAPI document and the checks of the template read."""

import importlib
from dataclasses import dataclass

from itlc.operation import Operation
from itlc.paging import PageQuery

from infra.local.reach import ROOT, SAME_QUEUE, Reach, reach_of

FUNCTIONS = ROOT / "functions"


@dataclass(frozen=True)
class Found:
    """One operation, with the domain whose folder it lies in and the first line of its file."""

    domain: str
    app: Operation
    summary: str
    reach: Reach


def load_operations() -> list[Found]:
    """The operations of `functions/`, in the order of their domains and names. Raises what importing one raises."""
    found = []
    for path in sorted(FUNCTIONS.glob("*/*.py")):
        name = f"functions.{path.parent.name}.{path.stem}"
        module = importlib.import_module(name)
        summary = (module.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        found.append(Found(path.parent.name, module.app, summary, _reach(name, module.app)))
    return found


def _reach(module: str, app: Operation) -> Reach:
    """What the operation can reach, with what the seam does for its route."""
    route, more = app.route_spec, []
    if route is not None and route.allow == "provider":
        more.append(("itlc.catalog.service", "provider_id_of"))
    if route is not None and (route.allow == "admin" or route.live_session):
        more.append(("itlc.accounts.service", "session_of"))
    reach = reach_of(module, *more)
    if route is not None and isinstance(route.query, type) and issubclass(route.query, PageQuery):
        reach.secrets.add("cursors")
    if route is not None and route.allow == "anyone" and route.method != "GET":
        reach.secrets.add("pseudonyms")  # of the address, under which its writes are counted
    # Only a consumer has an event at hand that it did not make itself, under a queue's name.
    same = SAME_QUEUE in reach.queues
    reach.queues.discard(SAME_QUEUE)
    if app.queue and same:
        reach.queues.add(app.queue)
    return reach
