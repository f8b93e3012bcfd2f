"""My data: everything that the seven stores hold about me, and nothing that would let anybody in."""

import pytest

from tests.support.calling import As, nobody
from tests.support.leaving import EMAIL, NAME, PROFILE, STORES, WRITTEN, away, full_life
from tests.support.market import order_in, service_of
from tests.support.money import holder
from tests.support.people import email_of, person, provider, signed_in
from tests.support.plans import lay_down, step
from tests.support.stack import Stores


def test_everything_is_in_it(stores: Stores) -> None:
    life = full_life()
    answer = life.ada.call("export_me")
    assert answer.status == 200
    mine = answer.json

    users = mine["itlc_users"]
    assert (users["user"]["name"], users["user"]["email"], users["user"]["tokens"]) == (NAME, EMAIL, 380)
    assert [s["id"] for s in users["sessions"]] == [life.ada.session_id]
    assert len(users["refresh_tokens"]) == len(users["password_resets"]) == 1
    assert [(t["kind"], t["tokens"]) for t in users["transfers"]] == [("topup", 500), ("payment", 120)]
    assert [a["action"] for a in users["audit"]] == ["top_up"]

    assert mine["itlc_api"]["provider"]["name"] == PROFILE
    assert [s["id"] for s in mine["itlc_api"]["services"]] == [life.service_id]

    orders = mine["itlc_orders"]
    assert {o["id"] for o in orders["orders"]} >= {life.bought_id, life.waived_id}
    assert len(orders["orders"]) == 4
    assert {o["user_id"] for o in orders["orders"]} == {life.ada.user_id, life.bob.user_id}
    assert life.open_bid_id in {b["id"] for b in orders["bids"]}
    assert {b["bidder_id"] for b in orders["bids"]} == {life.ada.user_id}
    assert life.received_bid_id in {b["id"] for b in orders["bids_received"]}
    assert {c["note"] for c in orders["checkins"]} == {None, f"The {WRITTEN} is planted.", f"{NAME} was happy."}
    assert [(p["order_id"], p["tokens"], p["status"]) for p in orders["payments"]] == [(life.bought_id, 120, "settled")]
    assert [p["status"] for p in orders["project_progress"]] == ["paid"]
    everywhere = life.ada.pages("list_notifications")
    assert len(orders["notifications"]) == sum(len(page) for page in everywhere) > 0
    assert [a["action"] for a in orders["audit"]] == ["pay_order"]

    assert [(t["id"], t["status"]) for t in mine["itlc_tokens"]["topups"]][-1] == (life.topup_id, "pending")
    documents = mine["itlc_pbfr"]
    assert {name: len(found) for name, found in documents.items()} == dict.fromkeys(
        ("projects", "blogs", "faqs", "ratings", "reviews"), 1
    )
    assert (documents["ratings"][0]["rating"], documents["ratings"][0]["order_id"]) == (4, life.bought_id)
    assert [s["description"] for s in mine["neo4j"]["steps"]] == [f"Ask {NAME} first", "Part 2"]


def test_what_lets_anybody_in_is_not_in_it(stores: Stores) -> None:
    life = full_life()
    text = life.ada.call("export_me").text
    for table in ("users", "refresh_tokens", "password_resets"):
        for row in stores.rows("itlc_users", f"SELECT * FROM {table}"):
            secret = str(row.get("password") or row.get("hash"))
            assert secret not in text, table
    for word in ('password":', "hash", "argon2", "idempotency", "fingerprint", 'words":', "outbox", 'search":'):
        assert word not in text, word


def test_nobody_elses_is_in_it(stores: Stores) -> None:
    ada, bob = person("Ada"), person("Bob")
    grace, _ = provider("Grace")
    order_in("created", bob, grace)
    assert bob.call("create_project", {"name": "Secret", "description": "Bob's own."}).status == 201
    mine = ada.call("export_me").json
    assert mine["itlc_users"]["user"]["id"] == ada.user_id
    assert mine["itlc_api"] == {"provider": None, "services": [], "audit": []}
    assert all(records == [] for records in mine["itlc_orders"].values())
    assert all(records == [] for records in mine["itlc_pbfr"].values())
    assert mine["neo4j"] == {"steps": [], "notified_by": []}


def test_of_a_strangers_step_only_that_it_notifies_me(stores: Stores) -> None:
    ada, bob = person("Ada"), person("Bob")
    grace, _ = provider("Grace")
    order_id = order_in("created", bob, grace)
    steps = [step(1, tell=("Grace@example.org", email_of("Ada").upper()), description="Bob's secret"), step(2)]
    (first, _second) = lay_down(grace, order_id, steps)
    (named,) = ada.call("export_me")["neo4j"]["notified_by"]
    assert (named["id"], named["order_id"], named["step_number"]) == (first, order_id, 1)
    assert named["notified_personnel"] == [email_of("Ada").upper()]
    assert "secret" not in ada.call("export_me").text
    assert bob.call("export_me")["neo4j"]["steps"][0]["description"] == "Bob's secret"


def test_amounts_times_and_ids_are_written_as_everywhere(stores: Stores) -> None:
    ada, bob = holder("Ada"), holder("Bob")
    order_in("created", ada, bob, "12.50")
    assert ada.call("create_project", {"name": "A", "description": "B"}).status == 201
    mine = ada.call("export_me").json
    (order,) = mine["itlc_orders"]["orders"]
    assert (order["amount"], order["refunded_amount"]) == ("12.50", "0.00")
    (project,) = mine["itlc_pbfr"]["projects"]
    for moment in (mine["exported_at"], order["created_at"], project["created_at"]):
        assert moment.endswith("Z")
    assert len(project["id"]) == 24


def test_an_administrators_acts_are_theirs(stores: Stores) -> None:
    ada, grace = person("Ada", admin=True), person("Grace")
    service_id = service_of(grace)
    assert ada.call("withdraw_service", service_id=service_id).status == 204
    assert ada.call("keep_template", {"name": "T", "description": "T", "type": "project"}).status == 201
    mine = ada.call("export_me").json
    assert [(a["action"], a["object"]) for a in mine["itlc_api"]["audit"]] == [
        ("withdraw_service", f"service:{service_id}")
    ]
    assert [a["action"] for a in mine["itlc_templates"]["audit"]] == ["keep_template"]
    assert [(a["action"], a["actor_id"]) for a in mine["itlc_users"]["audit"]] == [("grant_admin", None)]


def test_it_needs_a_session_that_lives(stores: Stores) -> None:
    ada = person("Ada")
    other = signed_in("Ada")
    assert nobody.call("export_me").status == 401
    assert ada.call("sign_out").status == 204
    assert ada.call("export_me").status == 401
    assert other.call("export_me").status == 200
    assert As(4711).call("export_me").status == 401


@pytest.mark.parametrize("store", STORES)
def test_without_one_of_the_stores_there_is_none(stores: Stores, store: str) -> None:
    ada = person("Ada")
    with away(store):
        answer = ada.call("export_me")
    assert answer.status == 503
    assert "Retry-After" in answer.headers
