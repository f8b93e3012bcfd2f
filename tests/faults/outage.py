"""Outages of a stack's stores, made in several ways and healed again, and the work that goes on meanwhile.

The stack is one of its own, reached through a proxy for each server. Work is a stream of requests with keys, each
repeated, as a client does, until it is acknowledged.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import psutil
from itlc.secrets import secret
from itlc.settings import settings

from infra.local import process
from infra.local.stack import Endpoints, Stack
from tests.faults.proxy import Proxy
from tests.support.calling import As, Response
from tests.support.market import order_in, service_of
from tests.support.money import holder, payable
from tests.support.plans import step
from tests.support.racing import become_a_worker
from tests.support.stack import Stores, point_functions_at, running_stack
from tests.support.waiting import eventually

SERVERS = ("postgres", "mongodb", "neo4j", "aws")
NEEDED = {
    "postgres": {"top_up", "pay_order", "publish_service", "add_step"},
    "mongodb": {"create_project"},
    "neo4j": {"add_step"},
    "aws": set[str](),
}
"""Which of the stream's operations cannot be served without the server. A commit needs no queue."""
APART = "itlc_tokens"
"""A database that is reached by a way of its own, as if it had a server to itself."""
FUNCTION_SECONDS = 10
"""How long a function may run (template.yaml)."""


class Network:
    """A stack of its own, with a proxy before each server, and this process as the one worker of every function.

    `external` is what the environment says of servers that are not the stack's own.
    """

    def __init__(self, endpoints: Endpoints, external: dict[str, str]) -> None:
        self.direct = endpoints
        self.external = external
        ports = {
            "postgres": urlsplit(endpoints.postgres_admin_url).port,
            "mongodb": urlsplit(endpoints.mongodb_url).port,
            "neo4j": urlsplit(endpoints.neo4j_uri).port,
            "aws": urlsplit(endpoints.aws_endpoint).port,
        }
        self.ports = {name: port for name, port in ports.items() if port is not None}
        self.proxies = {name: Proxy(port) for name, port in self.ports.items()}
        self.proxies[APART] = Proxy(self.ports["postgres"])
        self.stopped: list[psutil.Process] = []

    @property
    def proxied(self) -> Endpoints:
        """How the functions reach the stack."""
        direct = self.direct
        return replace(
            direct,
            postgres={
                name: replace(pair, app_url=self._through("postgres", pair.app_url, by=name))
                for name, pair in direct.postgres.items()
            },
            mongodb_url=self._through("mongodb", direct.mongodb_url),
            neo4j_uri=self._through("neo4j", direct.neo4j_uri),
            aws_endpoint=self._through("aws", direct.aws_endpoint),
        )

    def _through(self, name: str, url: str, by: str = "") -> str:
        proxy = self.proxies.get(by, self.proxies[name])
        return url.replace(f":{self.ports[name]}", f":{proxy.port}")

    def _ways(self, server: str) -> list[Proxy]:
        return [self.proxies[name] for name in (server, *([APART] if server == "postgres" else []))]

    @property
    def stores(self) -> Stores:
        """The stores as their owner sees them, by connections that no outage has broken."""
        return Stores(self.direct)

    def begin(self) -> None:
        """Make this process a worker that was just started, with the proxies' addresses as its stores'."""
        point_functions_at(self.proxied)
        secret.cache_clear()
        settings.cache_clear()
        start_anew()

    def break_down(self, server: str, how: str) -> None:
        """Take a server away: `killed`, `frozen`, `refused` or `swallowed`."""
        match how:
            case "killed":
                leader = self._process(server)
                victim = process.ProcessId(leader.pid, leader.create_time())
                leader.kill()
                assert process.wait_for_end(victim, 10)
            case "frozen":
                leader = self._process(server)
                self.stopped = [leader, *leader.children(recursive=True)]
                for one in self.stopped:
                    one.suspend()
            case "refused":
                for way in self._ways(server):
                    way.refuse()
            case "swallowed":
                for way in self._ways(server):
                    way.swallow()
            case _:
                raise ValueError(how)

    def _process(self, server: str) -> psutil.Process:
        pid = self.direct.pids[server]
        assert pid is not None, f"{server} is not the stack's own"
        return psutil.Process(pid)

    def heal(self, server: str, how: str) -> None:
        """Give the server back, at the same address."""
        match how:
            case "killed":
                self.start_what_is_down()
                if server == "aws":  # it has forgotten everything, and took its functions along: they begin anew
                    self.begin()
            case "frozen":
                for one in self.stopped:
                    one.resume()
                self.stopped = []
            case _:
                for way in self._ways(server):
                    way.pass_on()

    def start_what_is_down(self) -> None:
        """What `itlc up` does first."""
        functions = _settings()
        try:
            _set(self.external)
            self.direct = Stack(self.direct.state_dir, durable=False).up(lambda text: None)
        finally:
            _set(functions)

    def close(self) -> None:
        """Leave nothing stopped, and no proxy behind."""
        for one in self.stopped:
            one.resume()
        for proxy in self.proxies.values():
            proxy.close()


def start_anew() -> None:
    """Forget every client and circuit, as a worker that has just been started."""
    from itlc.stores import circuit, mongo, neo4j, postgres

    become_a_worker()
    mongo._clock_behind.cache_clear()
    for owner in (*postgres.DATABASES, neo4j.graph):
        owner.__dict__.pop("circuit", None)
    circuit.circuit.cache_clear()


@contextmanager
def network(**external: str) -> Iterator[Network]:
    """A network, with servers that are not its own where `ITLC_NEO4J_URL` and the like say so; afterwards this process
    is what it was before."""
    before = _settings()
    try:
        _set(external)
        with running_stack() as endpoints:
            made = Network(endpoints, external)
            try:
                made.begin()
                yield made
            finally:
                made.close()
    finally:
        _set(before)
        secret.cache_clear()
        settings.cache_clear()
        start_anew()


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("ITLC_", "AWS_"))}


def _set(wanted: dict[str, str]) -> None:
    for name in _settings():
        del os.environ[name]
    os.environ.update(wanted)


@dataclass
class Ask:
    """One request, which is repeated with its key until it is acknowledged."""

    who: As
    operation: str
    body: Any = None
    ids: dict[str, Any] = field(default_factory=dict)
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    def send(self) -> "Sent":
        """Send it once."""
        began = time.monotonic()
        response = self.who.call(self.operation, self.body, key=self.key, **self.ids)
        return Sent(self, response, time.monotonic() - began)


@dataclass(frozen=True)
class Sent:
    """A request that was sent, what came back, and how long it took in seconds."""

    ask: Ask
    response: Response
    seconds: float

    @property
    def acknowledged(self) -> bool:
        """Whether the caller was told that it is done, or will be."""
        return 200 <= self.response.status < 300

    def is_fair(self) -> None:
        """Assert that the answer is one that an outage may bring about, and came before the function's end."""
        response = self.response
        assert self.seconds < FUNCTION_SECONDS, f"{self.ask.operation}: {self.seconds:.1f} s"
        if not self.acknowledged:
            told = f"{self.ask.operation}: {response.status} {response.text}"
            # 409: the first request with this key has begun, and may yet end.
            assert response.status in (503, 409), told
            assert int(response.headers["Retry-After"]) >= 1, told


class Stream:
    """Requests of one customer and one provider, which together need all seven stores."""

    def __init__(self, name: str, orders: int = 12) -> None:
        self.ada, self.bob = holder(f"ada-{name}", 1_000), holder(f"bob-{name}")
        self.service = service_of(self.bob)
        self.payable = payable(self.ada, self.bob, *["5.00"] * orders)
        self.planned = order_in("in_progress", self.ada, self.bob)
        self.asked: list[Ask] = []
        self.waiting: list[Ask] = []
        self.sent: list[Sent] = []
        self.steps = 0

    def new(self) -> list[Ask]:
        """A new request of each kind, as long as none of that kind waits for its acknowledgement."""
        self.steps += 1
        made = [
            Ask(self.ada, "top_up", {"amount": "7"}),
            Ask(self.ada, "create_project", {"name": "A garden", "description": "With a pond."}),
            Ask(self.bob, "publish_service", {"name": "Ponds", "description": "Dug deep."}),
            Ask(self.bob, "add_step", step(1), {"order_id": self.planned}),
        ]
        if self.payable:
            made.append(Ask(self.ada, "pay_order", None, {"order_id": self.payable.pop()}))
        held_up = {ask.operation for ask in self.waiting}
        made = [ask for ask in made if ask.operation not in held_up]
        self.asked += made
        return made

    def flow(self) -> list[Sent]:
        """Send a new request of each kind and those that wait, one after the other; returns what came back."""
        now = []
        for ask in [*self.waiting, *self.new()]:
            sent = ask.send()
            sent.is_fair()
            now.append(sent)
        self.waiting = [sent.ask for sent in now if not sent.acknowledged]
        self.sent += now
        return now

    def flows_again(self, within: float) -> float:
        """Assert that before so many seconds have passed everything is acknowledged; returns after how many."""
        began = time.monotonic()
        eventually(lambda: all(sent.acknowledged for sent in self.flow()), "all is served", within=within)
        return time.monotonic() - began

    def all_there_once(self, stores: Stores) -> None:
        """Assert that everything that was asked for is there, and nothing twice."""
        assert not self.waiting
        counts = {name: sum(ask.operation == name for ask in self.asked) for name in {a.operation for a in self.asked}}
        topups = stores.rows("itlc_tokens", "SELECT status FROM token_topups WHERE made_by = :id", id=self.ada.user_id)
        # One more: what she began with.
        assert [row["status"] for row in topups] == ["completed"] * (counts["top_up"] + 1)
        orders = stores.rows("itlc_orders", "SELECT id, status FROM orders WHERE user_id = :id", id=self.ada.user_id)
        paid = {row["id"] for row in orders if row["status"] == "paid"}
        assert paid == {ask.ids["order_id"] for ask in self.asked if ask.operation == "pay_order"}
        services = stores.rows(
            "itlc_api",
            "SELECT id FROM services WHERE name = 'Ponds' AND provider_id = ("
            "SELECT id FROM providers WHERE user_id = :id)",
            id=self.bob.user_id,
        )
        assert len(services) == counts["publish_service"]
        assert len(stores.documents("projects", {"owner_id": self.ada.user_id})) == counts["create_project"]
        steps = stores.graph("MATCH (s:OrderStep {order_id: $id}) RETURN s.id", id=self.planned)
        assert len(steps) == counts["add_step"]
