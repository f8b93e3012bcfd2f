"""The market that is fuzzed: people who can call, and things of theirs in every state, made over HTTP."""

import json
import secrets
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import httpx

from infra.local.commands.admin import grant_admin
from infra.local.stack import Endpoints
from tests.support.mailbox import Mailbox
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

    def wait(self, path: str, until: Callable[[Any], bool]) -> Any:
        """What GET answers once `until` holds for it. The first call of a queue's function takes a while."""
        return eventually(partial(self.call, "GET", path), f"GET {path} answers so", holds=until, within=90)


@dataclass(frozen=True)
class Sent:
    """A request to an operation: the path's ids, and the body, if any."""

    ids: dict[str, Any] = field(default_factory=dict)
    body: Any = None


@dataclass(frozen=True)
class Market:
    """What is there: ids, by the parameters' names; for operations that chance hardly ever calls as it should, a
    request that succeeds, once, on something made for it; and the addresses of those who call."""

    api_url: str
    values: Values
    good: dict[str, Sent]
    player: str
    admin: str

    def for_hooks(self) -> str:
        """All but the ids, as JSON."""
        said = asdict(self)
        del said["values"]
        return json.dumps(said)


def prepare(api_url: str, endpoints: Endpoints) -> Market:
    """Make a market over HTTP, and an administrator."""
    with httpx.Client(base_url=api_url, timeout=60) as http:
        player, other, admin = (Caller.new(http, name) for name in ("Player", "Other", "Admin"))
        grant_admin(endpoints, admin.email)
        admin.token = Session.begin(http, admin.email).token()
        values = _market(player, other, admin)
        good = {**_good(player, other, values), "reset_password": _reset(http, Mailbox(endpoints))}
    return Market(api_url, values, good, player.email, admin.email)


def _reset(http: httpx.Client, mailbox: Mailbox) -> Sent:
    """A reset of somebody's password, with the token that they were sent."""
    _, email = register(http, "Forgetful")
    assert http.post("/password-resets", json={"email": email}).status_code == 202
    eventually(lambda: mailbox.mails(email), "the mail with the token is there", within=90)
    return Sent({"token": mailbox.reset_token(email)}, {"new_password": secrets.token_hex(12)})


def _good(player: Caller, other: Caller, values: Values) -> dict[str, Sent]:
    """Requests of the player's: as the provider of a service that the other buys, and as a customer of the other's."""
    texts = {"name": "Garden", "description": "Beds and paths."}
    (theirs, _), (own, _) = (values["service_id"][at : at + 2] for at in (0, 2))
    project = player.call("POST", "/projects", {**texts, "service_ids": [theirs]})["id"]
    _order(other, player, theirs, ("started", "completed"), project)
    to_pay = _order(other, player, theirs, ("started", "completed"))
    paid = _order(player, other, own, ("started", "completed"))
    for one in (player, other):
        one.wait("/users/me/balance", lambda balance: balance["tokens"] > 0)
    other.call("POST", f"/orders/{paid}/payment")
    taken, refused = (other.call("POST", f"/services/{own}/bids", {"amount": "9.99"})["id"] for _ in range(2))
    review = {"service_id": theirs, "review": "On time."}
    kept, dropped = (player.call("POST", "/reviews", review)["id"] for _ in range(2))
    planned, changed, shortened, worked = (_order(player, other, own, ("started",)) for _ in range(4))
    steps = {
        order: [one["id"] for one in player.call("PUT", f"/orders/{order}/steps", [step(1), step(2)])]
        for order in (changed, shortened, worked)
    }
    player.wait(f"/projects/{project}", lambda project: project["status"] == "completed")
    shown, withdrawn = (player.call("POST", "/services", texts)["id"] for _ in range(2))
    emptied, deleted = (player.call("POST", "/projects", {**texts, "service_ids": [theirs]})["id"] for _ in range(2))
    regretted = player.call("POST", f"/services/{theirs}/bids", {"amount": "9.99"})["id"]
    blog = player.call("POST", "/blogs", {"title": "Hedges", "content": "Cut them in March."})["id"]
    cancelled = _order(player, other, own, ())
    seen = {
        **{name: Sent({"order_id": worked}) for name in ("list_checkins", "list_steps", "show_timeline")},
        "list_project_orders": Sent({"project_id": project}),
        "rate_order": Sent({"order_id": to_pay}, {"rating": 5}),
        "check_in": Sent({"order_id": shortened}, {"status": "in_progress"}),
        "cancel_order": Sent({"order_id": cancelled}, {"reason": "It rains."}),
        "withdraw_bid": Sent({"bid_id": regretted}),
        "change_blog": Sent({"blog_id": blog}, {"title": "Hedges, cut"}),
        "change_service": Sent({"service_id": shown}, {"name": "Beds"}),
        "withdraw_service": Sent({"service_id": withdrawn}),
        "delete_project": Sent({"project_id": deleted}),
        "drop_service": Sent({"project_id": emptied, "service_id": theirs}),
    }
    return {
        **seen,
        "register_user": Sent(body={"name": "Ada", "email": f"{uuid.uuid4().hex}@example.org", "password": PASSWORD}),
        "sign_in": Sent(body={"email": player.email, "password": PASSWORD}),
        "refresh_session": Sent(body={"refresh_token": Session.begin(player.http, player.email).refresh_token}),
        "change_me": Sent(body={"name": "Ada", "email": f"{uuid.uuid4().hex}@example.org"}),
        "change_password": Sent(body={"current_password": PASSWORD, "new_password": secrets.token_hex(12)}),
        "become_provider": Sent(body={"name": "Gardens"}),
        "change_provider": Sent({"provider_id": values["provider_id"][1]}, {"name": "Parks"}),
        "publish_service": Sent(body=texts),
        "create_project": Sent(body={**texts, "service_ids": [theirs]}),
        "pay_project": Sent({"project_id": project}),
        "pay_order": Sent({"order_id": to_pay}),
        "refund_order": Sent({"order_id": paid}, {"amount": "4.00"}),
        "place_bid": Sent({"service_id": theirs}, {"amount": "9.99"}),
        "write_review": Sent(body=review),
        "change_review": Sent({"review_id": kept}, {"review": "A day late."}),
        "delete_review": Sent({"review_id": dropped}),
        "make_order": Sent({"bid_id": taken}),
        "reject_bid": Sent({"bid_id": refused}),
        "define_plan": Sent({"order_id": planned}, [step(1), step(2, 1)]),
        "change_step": Sent({"order_id": changed, "step_id": steps[changed][0]}, {"description": "A plan."}),
        "add_step": Sent({"order_id": changed}, step(3)),
        "complete_step": Sent({"order_id": worked, "step_id": steps[worked][0]}),
        "remove_step": Sent({"order_id": shortened, "step_id": steps[shortened][1]}),
    }


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
    told = player.wait("/notifications", lambda page: bool(page["items"]))["items"]
    values["notification_id"] = [one["id"] for one in told]
    return dict(values)


def _order(seller: Caller, customer: Caller, service: int, moves: Sequence[str], project: str | None = None) -> Any:
    """The id of a new order, moved by check-ins."""
    bid = customer.call("POST", f"/services/{service}/bids", {"amount": "10.00", "project_id": project})["id"]
    order = seller.call("POST", f"/bids/{bid}/order")["id"]
    for move in moves:
        seller.call("POST", f"/orders/{order}/checkins", {"status": move})
    return order
