"""A client generated from the published contract, and from nothing else, plays the ten lines of the workflow."""

import importlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from infra.local.commands.admin import grant_admin
from infra.local.openapi import DOCUMENT
from infra.local.stack import Endpoints
from tests.support.waiting import eventually

PACKAGE = "marketplace_client"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The client, generated from the committed contract and imported."""
    folder = tmp_path_factory.mktemp("client")
    config = folder / "config.json"
    config.write_text('{"post_hooks": []}')
    generator = Path(sys.executable).with_name("openapi-python-client")
    options: list[str | Path] = [
        "--path",
        DOCUMENT,
        "--meta",
        "none",
        "--config",
        config,
        "--output-path",
        folder / PACKAGE,
    ]
    made = subprocess.run(
        [generator, "generate", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    said = made.stdout + made.stderr
    assert "arning" not in said, f"the generator could not do all of the contract:\n{said}"
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(PACKAGE)
    finally:
        sys.path.remove(str(folder))


@dataclass
class Somebody:
    """One who calls through the generated functions; what comes back are the generated models."""

    client: Any
    id: int = 0

    def call(self, operation: str, *path: Any, body: Any = None, **others: Any) -> Any:
        """Call an operation by its id; a body is made of the generated class. Fails on every refusal."""
        module = importlib.import_module(f"{PACKAGE}.api.{TAGS[operation]}.{operation}")
        if body is not None:
            others["body"] = body
        response = module.sync_detailed(*path, client=self.client, **others)
        assert 200 <= response.status_code < 300, f"{operation}: {response.status_code} {response.content.decode()}"
        if response.content:
            assert response.parsed is not None, f"{operation}: {response.status_code} is not in the contract"
            assert not isinstance(response.parsed, model("Problem"))
        return response.parsed

    def wait(self, operation: str, *path: Any, until: Callable[[Any], bool]) -> Any:
        """What the operation answers once `until` holds for it."""
        return eventually(partial(self.call, operation, *path), f"{operation} answers so", holds=until)


TAGS = {
    said["operationId"]: said["tags"][0]
    for methods in json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"].values()
    for said in methods.values()
}


def model(name: str) -> Any:
    """A generated class."""
    return getattr(importlib.import_module(f"{PACKAGE}.models"), name)


@pytest.fixture(scope="module")
def join(package: ModuleType, api_url: str) -> Callable[..., Somebody]:
    """Registers somebody and signs them in."""
    strict: dict[str, Any] = {"base_url": api_url, "raise_on_unexpected_status": True, "timeout": 60}

    def joined(name: str, before_signing_in: Callable[[str], object] = lambda email: None) -> Somebody:
        email = f"{name}.{uuid.uuid4().hex[:8]}@example.org".lower()
        anyone = Somebody(package.Client(**strict))
        user = anyone.call("register_user", body=model("Register")(name=name, email=email, password=PASSWORD))
        before_signing_in(email)
        pair = anyone.call("sign_in", body=model("SignIn")(email=email, password=PASSWORD))
        return Somebody(package.AuthenticatedClient(token=pair.access_token, **strict), user.id)

    return joined


def test_the_ten_lines_of_the_workflow(join: Callable[..., Somebody], endpoints: Endpoints) -> None:
    customer, seller, rival = join("Ada"), join("Bo"), join("Cy")
    admin = join("Eve", before_signing_in=partial(grant_admin, endpoints))

    # Users pick templates, from which projects and services are made.
    keep = model("KeepTemplate")
    kinds = model("KeepTemplateType")
    plan = admin.call("keep_template", body=keep(name="A garden", description="In a month.", type_=kinds("project")))
    work = admin.call("keep_template", body=keep(name="Beds", description="Dug and planted.", type_=kinds("service")))
    seller.call("become_provider", body=model("BecomeProvider")(name="Bo's Gardens"))
    service = seller.call("publish_service", body=model("PublishService")(template_id=work.id))
    assert (service.name, service.rating.count) == ("Beds", 0)

    # Users create projects; projects use services.
    project = customer.call("create_project", body=model("CreateProject")(template_id=plan.id))
    assert project.name == "A garden"
    customer.call("use_service", project.id, service.id)
    assert customer.call("read_project", project.id).service_ids == [service.id]

    # Users bid on services and view bids.
    bid = model("PlaceBid")
    wanted = customer.call("place_bid", service.id, body=bid(amount="120.00", project_id=project.id, message="By May."))
    rival.call("place_bid", service.id, body=bid(amount="80.00"))
    seen = seller.call("list_service_bids", service.id)
    assert [one.bidder_id for one in seen.items] == [rival.id, customer.id]
    hidden = rival.call("list_service_bids", service.id).items[1]
    assert isinstance(hidden, model("AnonymousBid"))

    # Providers create orders from bids; they define steps, which notify users and connect to orders.
    order = seller.call("make_order", wanted.id)
    assert (order.user_id, order.amount) == (customer.id, "120.00")
    step = model("StepInput")
    steps = seller.call(
        "define_plan",
        order.id,
        body=[
            step(step_number=1, description="Dig", requirements="", notified_personnel=[], depends_on=[]),
            step(step_number=2, description="Plant", requirements="", notified_personnel=[], depends_on=[1]),
        ],
    )
    assert [(one.step_number, one.depends_on, one.order_id) for one in steps] == [(1, [], order.id), (2, [1], order.id)]
    assert customer.call("show_plan", order.id).critical_path == [1, 2]
    told = customer.wait("list_notifications", until=lambda page: len(page.items) >= 2)
    assert "new plan" in told.items[0].message

    # Providers update orders by check-ins.
    report = model("CheckIn")
    states = model("CheckInStatus")
    seller.call("check_in", order.id, body=report(status=states("started")))
    for one in steps:
        assert seller.call("complete_step", order.id, one.id).completed_at is not None
    seller.call("check_in", order.id, body=report(status=states("completed"), note="All planted."))
    customer.wait("read_project", project.id, until=lambda project: project.status == "completed")

    # Providers top up tokens, which updates balances.
    topup = seller.call(
        "top_up", body=model("TopUp")(amount=200, user_id=customer.id), idempotency_key=str(uuid.uuid4())
    )
    seller.wait("read_topup", topup.id, until=lambda topup: topup.status == "completed")
    assert customer.call("show_balance").tokens == 200

    # Users pay for completed projects.
    paid = customer.call("pay_project", project.id, idempotency_key=str(uuid.uuid4()))
    assert paid.tokens_charged == 120
    seller.wait("show_balance", until=lambda balance: balance.tokens == 120)
    assert customer.call("show_balance").tokens == 80

    # Providers may write blogs and FAQs.
    blog = seller.call("write_blog", body=model("WriteBlog")(title="Hedges", content="Cut them in March."))
    assert rival.call("read_blog", blog.id).author == "Bo's Gardens"
    faq = seller.call("write_faq", body=model("WriteFaq")(question="In the rain?", answer="In a drizzle."))
    assert rival.call("read_faq", faq.id).answer == "In a drizzle."

    # Users give ratings and reviews.
    customer.call("rate_order", order.id, body=model("RateOrder")(rating=5, review="A joy."))
    customer.call("write_review", body=model("WriteReview")(service_id=service.id, review="On time."))
    rival.wait("read_service", service.id, until=lambda service: service.rating.count == 1)
    assert rival.call("list_service_ratings", service.id).distribution.to_dict()["5"] == 1
    assert [one.review for one in rival.call("list_service_reviews", service.id).items] == ["On time."]
