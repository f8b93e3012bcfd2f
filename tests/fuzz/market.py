"""The market that is fuzzed: people who can call, and things of theirs in every state, made over HTTP."""

import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.commands.admin import grant_admin
from infra.local.stack import Endpoints
from tests.support.plans import step
from tests.support.waiting import eventually

PASSWORD = "correct horse battery staple"
RENEWED_AFTER = 240  # seconds; an access token lives for 600
Values = dict[str, list[Any]]


@dataclass
class Session:
    """Somebody's tokens. They are renewed by the refresh token, for address and password may change under way."""

    http: httpx.Client
    access_token: str
    refresh_token: str
    since: float

    @classmethod
    def begin(cls, http: httpx.Client, email: str) -> "Session":
        """Sign in."""
        pair = _sent(http, "/sessions", {"email": email, "password": PASSWORD})
        return cls(http, pair["access_token"], pair["refresh_token"], time.monotonic())

    def token(self) -> str:
        """An access token that has some minutes to live."""
        if time.monotonic() - self.since > RENEWED_AFTER:
            pair = _sent(self.http, "/sessions/refresh", {"refresh_token": self.refresh_token})
            self.access_token, self.refresh_token = pair["access_token"], pair["refresh_token"]
            self.since = time.monotonic()
        return self.access_token


def _sent(http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 201, f"POST {path}: {answer.status_code} {answer.text}"
    return answer.json()


def register(http: httpx.Client, name: str) -> tuple[int, str]:
    """The id and the address of somebody new."""
    email = f"{name.lower()}.{secrets.token_hex(6)}@example.org"
    user = _sent(http, "/users", {"name": name, "email": email, "password": PASSWORD})
    return int(user["id"]), email


@dataclass
class Caller:
    """One who makes the things that the fuzzer then finds."""

    http: httpx.Client
    id: int
    email: str
    token: str = ""

    @classmethod
    def new(cls, http: httpx.Client, name: str) -> "Caller":
        """Somebody who has registered and signed in."""
        user_id, email = register(http, name)
        return cls(http, user_id, email, Session.begin(http, email).token())

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request that succeeds."""
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": str(uuid.uuid4())}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def told(self) -> list[int]:
        """The ids of their notifications, once there are some."""
        items = eventually(lambda: self.call("GET", "/notifications")["items"], "they are told of something")
        return [one["id"] for one in items]


def prepare(api_url: str, endpoints: Endpoints) -> tuple[Values, dict[str, str]]:
    """Make a market; returns the ids in it, by the parameters' names, and who is to call."""
    with httpx.Client(base_url=api_url, timeout=60) as http:
        player, other, admin = (Caller.new(http, name) for name in ("Player", "Other", "Admin"))
        grant_admin(endpoints, admin.email)
        admin.token = Session.begin(http, admin.email).token()
        values = _market(player, other, admin)
    return values, {"api_url": api_url, "player": player.email, "admin": admin.email}


def _market(player: Caller, other: Caller, admin: Caller) -> Values:
    """Things of the player's as customer and as provider, in all states, and some of the other's."""
    texts = {"name": "Garden", "description": "Beds and paths."}
    values: Values = defaultdict(list)
    for kind in ("project", "service"):
        values["template_id"].append(admin.call("POST", "/templates", {**texts, "type": kind})["id"])
    for seller, customer in ((other, player), (player, other)):
        customer.call("POST", "/token-topups", {"amount": 100_000})
        values["provider_id"].append(seller.call("POST", "/providers", {"name": "Gardens"})["id"])
        service = seller.call("POST", "/services", texts)["id"]
        project = customer.call("POST", "/projects", {**texts, "service_ids": [service]})["id"]
        orders = [_order(seller, customer, service, moves) for moves in ((), ("started", "blocked", "completed"))]
        busy = _order(seller, customer, service, ("started",))
        done = _order(seller, customer, service, ("started", "completed"), project)
        # Steps are found only with their own order, so that one comes more often than the others.
        values["order_id"] += [*orders, done, *[busy] * 3]
        steps = seller.call("PUT", f"/orders/{busy}/steps", [step(1), step(2, 1, tell=(customer.email,)), step(3)])
        values["step_id"] += [one["id"] for one in steps]
        bids = [customer.call("POST", f"/services/{service}/bids", {"amount": "9.99"})["id"] for _ in range(4)]
        customer.call("PUT", f"/orders/{done}/rating", {"rating": 4})
        review = customer.call("POST", "/reviews", {"service_id": service, "review": "On time."})["id"]
        values["bid_id"] += bids
        values["service_id"] += [service, seller.call("POST", "/services", texts)["id"]]
        values["project_id"] += [project, customer.call("POST", "/projects", texts)["id"]]
        values["review_id"].append(review)
    for _ in range(3):
        blog = player.call("POST", "/blogs", {"title": "Hedges", "content": "Cut them in March."})
        faq = player.call("POST", "/faqs", {"question": "In the rain?", "answer": "In a drizzle."})
        values["blog_id"].append(blog["id"])
        values["faq_id"].append(faq["id"])
    values["topup_id"].append(player.call("POST", "/token-topups", {"amount": 5})["id"])
    values["notification_id"] = player.told()
    return dict(values)


def _order(seller: Caller, customer: Caller, service: int, moves: Sequence[str], project: str | None = None) -> Any:
    """The id of a new order, moved by check-ins."""
    bid = customer.call("POST", f"/services/{service}/bids", {"amount": "10.00", "project_id": project})["id"]
    order = seller.call("POST", f"/bids/{bid}/order")["id"]
    for move in moves:
        seller.call("POST", f"/orders/{order}/checkins", {"status": move})
    return order
