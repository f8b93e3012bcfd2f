"""The marketplace's whole story, played over HTTP as demo data: each request, its status, and what it did.

It is a client like any other: it knows the API's address and the contract, and nothing of the stores. Only the
administrator is made from outside, for no request can make one.
"""

import re
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.local.server import Say

PATIENCE = 30.0  # seconds for what a queue does in its own time


class DemoError(Exception):
    """A request of the story was not answered as the contract says."""


@dataclass
class Person:
    """One who takes part: signs in once, then calls."""

    name: str
    role: str
    http: httpx.Client
    say: Say
    email: str = ""
    id: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, *, does: str, expect: int = 200) -> Any:
        """Send a request, say what came of it, and return the answer's JSON (None when it has none).

        Raises DemoError when the status is another than `expect`.
        """
        headers = dict(self.headers)
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        response = self.http.request(method, path, json=body, headers=headers)
        self._tell(response, method, path, f"{self.name} {does}")
        if response.status_code != expect:
            raise DemoError(f"{method} {path} answered {response.status_code}, not {expect}: {response.text}")
        return response.json() if response.content else None

    def _tell(self, response: httpx.Response, method: str, path: str, does: str) -> None:
        self.say(line(response.status_code, method, path, does))

    def wait(self, path: str, done: Callable[[Any], bool], *, does: str) -> Any:
        """Read `path` until `done` with the answer, for at most 30 seconds, then say so and return it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            response = self.http.get(path, headers=self.headers)
            if response.status_code == 200 and done(response.json()):
                self._tell(response, "GET", path, does)
                return response.json()
            if time.monotonic() > deadline:
                raise DemoError(f"GET {path} has not come to “{does}” in {PATIENCE:.0f} s: {response.text}")
            time.sleep(0.2)


def line(status: int, method: str, path: str, does: str) -> str:
    """A request as the story shows it; long ids are cut."""
    short = re.sub(r"[0-9a-f]{24}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda id: f"{id[0][:4]}…", path)
    return f"  {status}  {method:<6} {short:<36} {does}"


def play(api_url: str, say: Say, grant_admin: Callable[[str], object]) -> None:
    """Play the story once, with people whose addresses are new, and end in a summary.

    `grant_admin` makes the user with an e-mail address an administrator, as `itlc admin grant` does.
    Raises DemoError at the first answer that is not as the contract says; what was done until then stays.
    """
    with httpx.Client(base_url=api_url, timeout=60) as http:
        _Story(http, say, grant_admin).play()


class _Story:
    def __init__(self, http: httpx.Client, say: Say, grant_admin: Callable[[str], object]) -> None:
        self.http, self.say, self.grant_admin = http, say, grant_admin
        self.password = secrets.token_urlsafe(12)
        self.suffix = ""
        self.ada = self._person("Ada", "customer")
        self.bo = self._person("Bo", "provider")
        self.cy = self._person("Cy", "another bidder")
        self.dee = self._person("Dee", "on site")
        self.eve = self._person("Eve", "administrator")
        self.people = [self.ada, self.bo, self.cy, self.dee, self.eve]

    def play(self) -> None:
        self._chapter("Everybody registers and signs in")
        for person in self.people:
            self._join(person)
        templates = self._templates()
        services = self._services(templates)
        self._topups()
        project = self._project(templates, services)
        order = self._bids(project, services)
        self._steps(order)
        self._progress(order, project)
        self._payment(project)
        self._content()
        self._feedback(order, services)
        self._summary()

    def _templates(self) -> dict[str, int]:
        self._chapter("An administrator keeps templates")
        self.grant_admin(self.eve.email)
        self._sign_in(self.eve)
        made = {}
        for kind, name, description in (
            ("project", "A garden, done", "From a wilderness to a garden in four weeks."),
            ("service", "Landscaping", "Beds, paths and hedges, planned and planted."),
        ):
            body = {"name": name, "description": description, "type": kind}
            template = self.eve.call("POST", "/templates", body, does=f"keeps a {kind} template", expect=201)
            made[kind] = template["id"]
        return made

    def _services(self, templates: dict[str, int]) -> list[int]:
        self._chapter("A provider offers services")
        self.bo.call("POST", "/providers", {"name": "Bo's Gardens"}, does="becomes a provider", expect=201)
        body: dict[str, Any] = {"template_id": templates["service"]}
        landscaping = self.bo.call("POST", "/services", body, does="offers “Landscaping”, from a template", expect=201)
        body = {"name": "Lawn care", "description": "Mowing, feeding, scarifying."}
        lawn = self.bo.call("POST", "/services", body, does="offers “Lawn care”", expect=201)
        return [landscaping["id"], lawn["id"]]

    def _topups(self) -> None:
        self._chapter("Tokens are topped up; a queue credits them exactly once")
        for who, body, does in (
            (self.ada, {"amount": 500}, "tops up 500 tokens"),
            (self.bo, {"amount": 100}, "tops up 100 tokens"),
            (self.bo, {"amount": 50, "user_id": self.cy.id}, "tops up 50 tokens for Cy"),
        ):
            topup = who.call("POST", "/token-topups", body, does=does, expect=202)
            who.wait(
                f"/token-topups/{topup['id']}",
                lambda seen: seen["status"] == "completed",
                does="the top-up is completed",
            )
        self.ada.call("GET", "/users/me/balance", does="has 500 tokens")

    def _project(self, templates: dict[str, int], services: list[int]) -> str:
        self._chapter("A customer plans a project that uses services")
        body: dict[str, Any] = {"template_id": templates["project"], "service_ids": services[:1]}
        project = self.ada.call("POST", "/projects", body, does="plans “A garden, done”, from a template", expect=201)
        path = f"/projects/{project['id']}"
        self.ada.call("PUT", f"{path}/services/{services[1]}", does="adds “Lawn care” to it", expect=204)
        self.ada.call("PATCH", path, {"name": "The back garden"}, does="calls it “The back garden”")
        return str(project["id"])

    def _bids(self, project: str, services: list[int]) -> int:
        self._chapter("Users bid; the provider makes an order from a bid")
        path = f"/services/{services[0]}/bids"
        body = {"amount": "120.00", "project_id": project, "message": "By May, please."}
        bid = self.ada.call("POST", path, body, does="bids 120.00", expect=201)
        self.cy.call("POST", path, {"amount": "80.00"}, does="bids 80.00", expect=201)
        seen = self.bo.call("GET", path, does="sees two bids, and whose they are")
        if len(seen["items"]) != 2:
            raise DemoError(f"two bids were placed, {len(seen['items'])} are listed")
        order = self.bo.call("POST", f"/bids/{bid['id']}/order", does="takes Ada's bid: an order", expect=201)
        return int(order["id"])

    def _steps(self, order: int) -> None:
        self._chapter("The provider lays down the order's steps; those concerned are told")
        steps = [
            ("Measure and draw", "Access to the garden", [self.dee.email], [], 3),
            ("Dig the beds", "Dry weather", [self.dee.email], [1], 8),
            ("Lay the paths", "Gravel, delivered", [], [1], 6),
            ("Plant", "Plants, delivered", [self.dee.email], [2, 3], 4),
        ]
        body = [
            {
                "step_number": number,
                "description": description,
                "requirements": requirements,
                "notified_personnel": personnel,
                "depends_on": depends_on,
                "duration_hours": hours,
            }
            for number, (description, requirements, personnel, depends_on, hours) in enumerate(steps, start=1)
        ]
        self.bo.call("PUT", f"/orders/{order}/steps", body, does="defines four steps")
        plan = self.ada.call("GET", f"/orders/{order}/plan", does="sees the plan")
        self.say(f"       critical path {plan['critical_path']}, {plan['duration_hours']} hours")

    def _progress(self, order: int, project: str) -> None:
        self._chapter("The provider reports progress by check-ins and completes the steps")
        checkins = f"/orders/{order}/checkins"
        self.bo.call("POST", checkins, {"status": "started"}, does="has started", expect=201)
        steps = self.bo.call("GET", f"/orders/{order}/steps", does="reads the steps")["items"]
        for step in steps:
            path = f"/orders/{order}/steps/{step['id']}/completion"
            self.bo.call("POST", path, does=f"completes step {step['step_number']}: {step['description']}")
        body = {"status": "in_progress", "note": "Only the tidying is left."}
        self.bo.call("POST", checkins, body, does="is nearly there", expect=201)
        self.bo.call("POST", checkins, {"status": "completed"}, does="has completed the order", expect=201)
        self.ada.wait(
            f"/projects/{project}", lambda seen: seen["status"] == "completed", does="the project is completed"
        )

    def _payment(self, project: str) -> None:
        self._chapter("The customer pays for the completed project")
        path = f"/projects/{project}/payment"
        paid = self.ada.call("POST", path, does="pays 120 tokens", expect=201)
        if paid["tokens_charged"] != 120:
            raise DemoError(f"120 tokens were due, {paid['tokens_charged']} were charged")
        self.bo.wait("/users/me/balance", lambda seen: seen["tokens"] == 220, does="Bo has 100 + 120 tokens")

    def _content(self) -> None:
        self._chapter("The provider writes a blog and an FAQ")
        body = {"title": "Hedges in March", "content": "Cut before the birds nest."}
        self.bo.call("POST", "/blogs", body, does="writes a blog", expect=201)
        body = {"question": "Do you work in the rain?", "answer": "In a drizzle, yes."}
        self.bo.call("POST", "/faqs", body, does="answers a frequent question", expect=201)

    def _feedback(self, order: int, services: list[int]) -> None:
        self._chapter("The customer rates and reviews the work")
        body: dict[str, Any] = {"rating": 5, "review": "A joy to look at."}
        self.ada.call("PUT", f"/orders/{order}/rating", body, does="gives five stars")
        body = {"service_id": services[0], "review": "On time, tidy, kind to the hedgehogs."}
        self.ada.call("POST", "/reviews", body, does="writes a review", expect=201)
        path = f"/services/{services[0]}"
        self.cy.wait(path, lambda seen: seen["rating"]["count"] == 1, does="the service shows its rating")

    def _summary(self) -> None:
        self._chapter("What came of it")
        self.dee.wait("/notifications", lambda seen: len(seen["items"]) >= 1, does="Dee has been told of the steps")
        for person in self.people:
            tokens = self.http.get("/users/me/balance", headers=person.headers).json()["tokens"]
            told = self.http.get("/notifications", params={"limit": 100}, headers=person.headers).json()["items"]
            latest = f"; last: “{told[0]['message']}”" if told else ""
            self.say(f"  {person.name:<4} {person.role:<15} {tokens:>4} tokens, {len(told):>2} notifications{latest}")
        self.say(f"  Sign in as any of them, for instance {self.ada.email}, with the password {self.password}")

    def _person(self, name: str, role: str) -> Person:
        return Person(name, role, self.http, self.say)

    def _join(self, person: Person) -> None:
        """Register and sign in, under an address that nobody has yet: a second demo gets people of its own."""
        while True:
            person.email = f"{person.name.lower()}{self.suffix}@example.org"
            body = {"name": person.name, "email": person.email, "password": self.password}
            response = self.http.post("/users", json=body)
            if response.status_code != 409:
                break
            self.suffix = f"-{secrets.token_hex(3)}"
        self.say(line(response.status_code, "POST", "/users", f"{person.name} registers: {person.email}"))
        if response.status_code != 201:
            raise DemoError(f"POST /users answered {response.status_code}, not 201: {response.text}")
        person.id = response.json()["id"]
        self._sign_in(person)

    def _sign_in(self, person: Person) -> None:
        body = {"email": person.email, "password": self.password}
        session = person.call("POST", "/sessions", body, does="signs in", expect=201)
        person.headers = {"Authorization": f"Bearer {session['access_token']}"}

    def _chapter(self, title: str) -> None:
        self.say("")
        self.say(title)
