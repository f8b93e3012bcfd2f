"""Reconciliation: on a clean world all holds; whatever is broken in the stores is reported, by its row, and alone."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bson import ObjectId
from itlc import aws, events
from itlc.errors import StoreAway
from itlc.events import event
from itlc.settings import settings
from itlc.stores import mongo, neo4j, outbox, postgres
from itlc.system import reconciliation
from itlc.system.findings import MOST_NAMED
from itlc.wallet.model import TOPUPS

from tests.operations.wallet.test_payments import Cut, cut
from tests.support.calling import As, run_scheduled
from tests.support.market import order_in, project_of
from tests.support.money import holder, payable
from tests.support.plans import lay_down, step
from tests.support.queues import dead_letters, drain
from tests.support.stack import Stores

NAMES = [invariant.name for invariant in reconciliation.INVARIANTS]
LONG_AGO = "now() - interval '20 minutes'"


class World:
    """A market in which everything that reconciliation looks at has happened."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.admin = holder("Root", admin=True)
        self.ada, self.bob = holder("Ada", 900), holder("Bob", 50)
        self.project = project_of(self.ada)
        self.paid, self.refunded = payable(self.ada, self.bob, "120.00", "30.00", project_id=self.project)
        self.open = order_in("in_progress", self.ada, self.bob, "15.00")
        assert self.ada.call("pay_project", key="p", project_id=self.project).status == 201
        assert self.bob.call("refund_order", {"amount": "10.00"}, key="r1", order_id=self.refunded).status == 201
        assert self.bob.call("refund_order", key="r2", order_id=self.refunded).status == 201
        topped_up = self.ada.call("top_up", {"amount": 5}, key="t")
        assert topped_up.status == 202
        self.topup: int = topped_up["id"]
        assert self.ada.call("rate_order", {"rating": 4}, order_id=self.paid).status == 200
        assert self.ada.call("create_project", {"name": "B", "description": "b"}, key="c").status == 201
        lay_down(self.bob, self.open, [step(1), step(2, 1)])
        assert self.bob.call("add_step", step(3), key="s", order_id=self.open).status == 201
        drain()

    def sql(self, database: str, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Change or ask a database as its owner."""
        return self.stores.rows(database, sql, **values)

    def transfer(self, **fields: Any) -> uuid.UUID:
        """A transfer that nobody made, long ago; returns its id."""
        row = {
            "id": uuid.uuid4(),
            "kind": "refund",
            "debit_account": "house:lost",
            "credit_account": "house:lost too",
            "tokens": 5,
            "debit_user_id": None,
            "debit_balance": None,
            "credit_user_id": None,
            "credit_balance": None,
            "order_id": None,
            "topup_id": None,
            **fields,
        }
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        self.sql("itlc_users", f"INSERT INTO transfers ({names}, created_at) VALUES ({values}, {LONG_AGO})", **row)
        made: uuid.UUID = row["id"]
        return made

    @contextmanager
    def without(self, database: str, *statements: str) -> Iterator[None]:
        """Take constraints or indexes away for a while; all is emptied before they are made again."""
        kept = [self._made_again(database, name) for name in statements]
        for drop, _ in kept:
            self.sql(database, drop)
        try:
            yield
        finally:
            self.stores.empty()
            for _, create in kept:
                self.sql(database, create)

    def _made_again(self, database: str, name: str) -> tuple[str, str]:
        found = self.sql(
            database,
            "SELECT conrelid::regclass::text AS t, pg_get_constraintdef(oid) AS made FROM pg_constraint "
            "WHERE conname = :n",
            n=name,
        )
        if found:
            table, made = found[0]["t"], found[0]["made"]
            return f"ALTER TABLE {table} DROP CONSTRAINT {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} {made}"
        (index,) = self.sql(database, "SELECT indexdef FROM pg_indexes WHERE indexname = :n", n=name)
        return f"DROP INDEX {name}", index["indexdef"]

    def found(self) -> dict[str, Any]:
        """What a reconciliation finds, by the invariant's name."""
        answer = self.admin.call("run_reconciliation")
        assert answer.status == 201, answer.text
        return {finding["name"]: finding for finding in answer["findings"]}

    def broken(self) -> dict[str, list[str]]:
        """Which invariants are broken, and by which rows; none may go unchecked."""
        found = self.found()
        assert {finding["state"] for finding in found.values()} <= {"holds", "broken"}, found
        return {name: finding["rows"] for name, finding in found.items() if finding["state"] == "broken"}


@pytest.fixture
def world(stores: Stores) -> World:
    return World(stores)


def test_on_a_clean_world_everything_holds_and_was_looked_at(world: World) -> None:
    answer = world.admin.call("run_reconciliation")
    assert answer.status == 201, answer.text
    assert [finding["name"] for finding in answer["findings"]] == NAMES
    for finding in answer["findings"]:
        assert finding["state"] == "holds", finding
        assert finding["looked_at"] > 0, finding
        assert (finding["broken"], finding["rows"], finding["remark"]) == (0, [], None), finding
        assert finding["says"].endswith("."), finding
    assert (answer["broken"], answer["not_checked"], answer["made_by"]) == (0, 0, world.admin.user_id)
    assert answer["started_at"] <= answer["finished_at"]
    (audited,) = world.sql("itlc_users", "SELECT * FROM audit WHERE action = 'run_reconciliation'")
    assert (audited["actor_id"], audited["object"]) == (world.admin.user_id, f"reconciliation:{answer['id']}")


def test_it_is_kept_and_listed_newest_first(world: World) -> None:
    ids = [world.admin.call("run_reconciliation")["id"] for _ in range(2)]
    assert run_scheduled("reconcile") == {"broken": 0, "not_checked": 0}
    pages = list(world.admin.pages("list_reconciliations", query={"limit": 2}))
    assert [len(page) for page in pages] == [2, 1]
    listed = [item for page in pages for item in page]
    assert [item["made_by"] for item in listed] == [None, world.admin.user_id, world.admin.user_id]
    assert [item["id"] for item in listed[1:]] == ids[::-1]
    assert [finding["name"] for finding in listed[0]["findings"]] == NAMES


@pytest.mark.parametrize("operation", ["run_reconciliation", "list_reconciliations"])
def test_only_administrators_may(world: World, operation: str) -> None:
    assert world.ada.call(operation).status == 403
    assert As().call(operation).status == 401
    assert world.admin.call("run_reconciliation", {"repair": True}).status == 422


# Tokens


def test_a_balance_that_is_not_the_sum(world: World) -> None:
    world.sql("itlc_users", "UPDATE users SET tokens = tokens + 7 WHERE id = :id", id=world.ada.user_id)
    world.sql("itlc_users", "UPDATE users SET tokens = tokens - 7 WHERE id = :id", id=world.bob.user_id)
    users = [f"user:{world.ada.user_id}", f"user:{world.bob.user_id}"]
    assert world.broken() == {"balance_is_sum_of_transfers": users}


def test_a_negative_balance(world: World) -> None:
    root = world.admin.user_id
    with world.without("itlc_users", "users_tokens_not_negative"):
        moved = world.transfer(
            kind="forfeit",
            debit_account=f"user:{root}",
            debit_user_id=root,
            debit_balance=-5,
            credit_account="house:forfeit",
        )
        world.sql("itlc_users", "UPDATE users SET tokens = -5 WHERE id = :id", id=root)
        assert world.broken() == {"no_balance_is_negative": [f"user:{root}", f"transfer:{moved}"]}


def test_tokens_that_are_nowhere(world: World) -> None:
    world.transfer(
        debit_account="house:forfeit", credit_account="house:elsewhere", kind="forfeit", tokens=1
    )  # makes the forfeit account negative, too
    world.transfer(
        kind="forfeit",
        debit_account=f"user:{world.ada.user_id}",
        debit_user_id=world.ada.user_id,
        debit_balance=0,
        credit_account="house:forfeit",
        tokens=1,
    )
    world.sql("itlc_users", "UPDATE users SET tokens = tokens - 1 WHERE id = :id", id=world.ada.user_id)
    found = world.found()
    assert [name for name in NAMES if found[name]["state"] == "broken"] == ["tokens_are_conserved"]
    assert found["tokens_are_conserved"]["rows"] == ["ledger"]
    assert "are not the 955 that were credited" in found["tokens_are_conserved"]["remark"]


@pytest.mark.parametrize("change", ["user_id = 1", "amount = 6", "status = 'failed'"])
def test_a_topup_that_is_not_what_was_credited(world: World, change: str) -> None:
    world.sql("itlc_tokens", f"UPDATE token_topups SET {change} WHERE id = :id", id=world.topup)
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{world.topup}"]}


def test_a_completed_topup_that_nobody_got(world: World) -> None:
    (row,) = world.sql(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, status, made_by) VALUES (1, 3, 'completed', 1) RETURNING id",
    )
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{row['id']}"]}


def test_a_pending_topup_may_have_been_credited_just_now_but_not_long_ago(world: World) -> None:
    world.sql("itlc_tokens", "UPDATE token_topups SET status = 'pending' WHERE id = :id", id=world.topup)
    assert world.broken() == {}
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LONG_AGO} WHERE topup_id = :id", id=world.topup)
    assert world.broken() == {"topup_is_one_transfer": [f"topup:{world.topup}"]}


def test_a_credit_without_a_topup(world: World) -> None:
    ada = world.ada.user_id
    made = world.transfer(
        kind="topup", debit_account=TOPUPS.name, credit_account=f"user:{ada}", credit_user_id=ada, credit_balance=5
    )
    world.sql("itlc_users", "UPDATE users SET tokens = tokens + 5 WHERE id = :id", id=ada)
    assert world.broken() == {"topup_is_one_transfer": [f"transfer:{made}"]}
    world.sql("itlc_users", "UPDATE transfers SET created_at = now() WHERE id = :id", id=made)
    assert world.broken() == {}  # its top-up may have been made after the top-ups were read


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE orders SET tokens_charged = 121 WHERE id = :id",
        "UPDATE orders SET amount = 121.00 WHERE id = :id; UPDATE bidding SET amount = 121.00 WHERE order_id = :id",
    ],
)
def test_a_paid_order_of_another_amount_than_its_payment(world: World, change: str) -> None:
    for statement in change.split("; "):
        world.sql("itlc_orders", statement, id=world.paid)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.paid}"]}


def test_an_order_that_is_paid_without_a_payment(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET status = 'paid', tokens_charged = 15 WHERE id = :id", id=world.open)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.open}"]}


def test_a_payment_whose_order_is_not_paid(world: World) -> None:
    order_id = order_in("completed", world.ada, world.bob, "10.00")
    assert world.ada.call("pay_order", key="k", order_id=order_id).status == 201
    drain()
    world.sql("itlc_orders", "UPDATE orders SET status = 'completed' WHERE id = :id", id=order_id)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{order_id}"]}


@pytest.mark.parametrize("change", ["refunded_tokens = 29", "refunded_amount = 29.00, status = 'paid'"])
def test_an_order_that_shows_other_refunds_than_were_made(world: World, change: str) -> None:
    world.sql("itlc_orders", f"UPDATE orders SET {change} WHERE id = :id", id=world.refunded)
    assert world.broken() == {"refunds_are_within_payment": [f"order:{world.refunded}"]}


def test_a_refund_that_the_ledger_did_not_make(world: World) -> None:
    world.sql(
        "itlc_users",
        "UPDATE transfers SET order_id = :other WHERE kind = 'refund' AND order_id = :id",
        other=world.paid,
        id=world.refunded,
    )
    broken = world.broken()
    assert broken.keys() == {"refunds_are_within_payment"}
    assert f"order:{world.refunded}" in broken["refunds_are_within_payment"]


def test_an_escrow_that_went_to_somebody_else(world: World) -> None:
    (released,) = world.sql(
        "itlc_users", "SELECT * FROM transfers WHERE order_id = :id AND debit_account LIKE 'escrow:%'", id=world.paid
    )
    root = world.admin.user_id
    moved = "UPDATE transfers SET credit_account = :account, credit_user_id = :user_id WHERE id = :id"
    world.sql("itlc_users", moved, account=f"user:{root}", user_id=root, id=released["id"])
    for user_id, change in ((root, 120), (world.bob.user_id, -120)):
        world.sql("itlc_users", "UPDATE users SET tokens = tokens + :c WHERE id = :id", c=change, id=user_id)
    assert world.broken() == {"escrow_is_settled_once": [released["debit_account"]]}


def test_an_escrow_that_was_emptied_twice(world: World) -> None:
    (released,) = world.sql(
        "itlc_users",
        "SELECT * FROM transfers WHERE order_id = :id AND debit_account LIKE 'escrow:%'",
        id=world.refunded,
    )
    with world.without("itlc_users", "transfers_escrow_settled_once"):
        fields = ("kind", "debit_account", "credit_account", "credit_user_id", "credit_balance", "tokens", "order_id")
        world.transfer(**{name: released[name] for name in fields})
        world.sql("itlc_users", "UPDATE users SET tokens = tokens + 30 WHERE id = :id", id=world.bob.user_id)
        broken = world.broken()
        assert broken["escrow_is_settled_once"] == [released["debit_account"]]
        assert broken.keys() == {"escrow_is_settled_once", "no_balance_is_negative"}  # an escrow gave more than it had


def test_an_escrow_without_a_payment(world: World) -> None:
    account = f"escrow:{uuid.uuid4()}:1"
    fields = {"kind": "payment", "order_id": 1}
    ada = world.ada.user_id
    world.transfer(debit_account=f"user:{ada}", debit_user_id=ada, debit_balance=0, credit_account=account, **fields)
    world.transfer(debit_account=account, credit_account=f"user:{ada}", credit_user_id=ada, credit_balance=5, **fields)
    assert world.broken() == {"escrow_is_settled_once": [account]}


def test_an_escrow_that_stays_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id = order_in("completed", world.ada, world.bob, "10.00")
    with monkeypatch.context() as patch:
        cut(patch, postgres.users, 2, Cut())
        assert world.ada.call("pay_order", key="k", order_id=order_id).status == 201
    (filled,) = world.sql("itlc_users", "SELECT * FROM transfers WHERE order_id = :id", id=order_id)
    assert world.broken() == {}  # on its way
    world.sql("itlc_users", f"UPDATE transfers SET created_at = {LONG_AGO} WHERE order_id = :id", id=order_id)
    assert world.broken() == {"escrow_is_settled_in_time": [filled["credit_account"]]}


# Events


def wait_in(world: World, where: str) -> str:
    """An event that has waited for three minutes in one store, held by nobody; returns how it is named."""
    one = event("notifications", "notice", "order:1", {"message": "a", "user_ids": [], "emails": [], "actor_id": None})
    if where == "neo4j":
        neo4j.graph.write(lambda transaction: transaction.emit(one))
        world.stores.graph(
            "MATCH (o:Outbox) SET o.created_at = datetime() - duration({minutes: 3}), "
            "o.claimed_until = datetime() - duration({minutes: 1})"
        )
        return f"neo4j.outbox:{one.id}"
    if where == "itlc_pbfr":
        entry = mongo.outbox_entry(one)
        said = {**json.loads(entry["event"]), "created_at": "2026-01-01T00:00:00+00:00"}
        entry |= {"event": json.dumps(said), "claimed_until": mongo.now().replace(year=2026, month=1, day=1)}
        project_id = ObjectId(world.project)
        world.stores.mongo["itlc_pbfr"]["projects"].update_one({"_id": project_id}, {"$push": {"outbox": entry}})
        return f"itlc_pbfr.projects:{project_id}:{one.id}"
    database = next(database for database in postgres.DATABASES if database.name == where)
    database.write(lambda db: outbox.emit(db, one))
    world.sql(
        where,
        "UPDATE outbox SET created_at = now() - interval '3 minutes', claimed_until = now() WHERE published_at IS NULL",
    )
    return f"{where}.outbox:{one.id}"


@pytest.mark.parametrize("where", [*(database.name for database in postgres.DATABASES), "itlc_pbfr", "neo4j"])
def test_an_event_that_waits_is_reported_and_sent(world: World, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(events, "send_now", lambda emitted, published: None)
        name = wait_in(world, where)
    finding = world.found()["outbox_is_sent_in_time"]
    assert (finding["state"], finding["rows"]) == ("broken", [name])
    assert finding["remark"] == "1 waiting events were sent again"
    assert world.broken() == {}
    assert drain() == 1


def sent_long_ago(world: World) -> str:
    """The id of an event that was sent 20 minutes ago and whose message got lost."""
    (row,) = world.sql(
        "itlc_orders",
        f"UPDATE outbox SET published_at = {LONG_AGO} WHERE id = (SELECT min(id::text)::uuid FROM outbox "
        "WHERE queue = 'notifications') RETURNING id",
    )
    world.sql("itlc_orders", "DELETE FROM inbox WHERE message_id = :id", id=row["id"])
    return str(row["id"])


def test_a_sent_event_that_nobody_consumed(world: World) -> None:
    lost = sent_long_ago(world)
    assert world.broken() == {"sent_event_is_consumed": [f"event:{lost}"]}


def test_a_sent_event_may_be_a_dead_letter(world: World) -> None:
    lost = sent_long_ago(world)
    events.bury("notifications", json.dumps({"id": lost}), "as a test")
    events.bury("notifications", "no event", "as a test")
    assert world.broken() == {}
    aws.client("sqs").purge_queue(QueueUrl=settings().dead_letter_queues["notifications"])
    assert dead_letters("notifications") == []


def test_an_erasure_that_nobody_does(world: World) -> None:
    asked = events.event("erasures", "erase", "user:1", {"user_id": world.bob.user_id})
    postgres.orders.write(lambda db: outbox.emit(db, asked))
    assert world.broken() == {}
    world.sql("itlc_orders", f"UPDATE outbox SET published_at = {LONG_AGO} WHERE id = :id", id=asked.id)
    assert world.broken() == {"sent_event_is_consumed": [f"event:{asked.id}"]}


def test_a_version_that_was_left_out(world: World) -> None:
    versions = world.sql("itlc_orders", "SELECT aggregate_version AS v FROM outbox WHERE queue = 'projects' ORDER BY 1")
    assert len(versions) >= 3
    world.sql("itlc_orders", "DELETE FROM outbox WHERE queue = 'projects' AND aggregate_version = 2")
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}


def test_the_last_version_that_was_not_told(world: World) -> None:
    world.sql(
        "itlc_orders",
        "DELETE FROM outbox WHERE queue = 'projects' "
        "AND aggregate_version = (SELECT max(aggregate_version) FROM outbox WHERE queue = 'projects')",
    )
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}


def test_an_event_that_says_two_things(world: World) -> None:
    (row,) = world.sql("itlc_orders", "SELECT * FROM outbox WHERE queue = 'notifications' ORDER BY created_at LIMIT 1")
    insert = (
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) "
        "VALUES (:id, :queue, :type, :aggregate, CAST(:payload AS jsonb), now())"
    )
    same = {name: row[name] for name in ("id", "queue", "type", "aggregate")}
    world.sql("itlc_tokens", insert, **same, payload=json.dumps(row["payload"]))
    assert world.broken() == {}
    world.sql("itlc_api", insert, **same, payload=json.dumps({"message": "something else"}))
    assert world.broken() == {"event_has_one_payload": [f"event:{row['id']}"]}


# Kept answers


def key_of(world: World, operation: str, key: str, who: As) -> str:
    """How the key of somebody's request is named."""
    return f"key:{json.dumps([f'user:{who.user_id}', operation, key])}"


@pytest.mark.parametrize("change", ["body = NULL", "body = ''", "headers = NULL", "body = '{'"])
def test_a_finished_key_without_its_answer(world: World, change: str) -> None:
    world.sql("itlc_orders", f"UPDATE idempotency_keys SET {change} WHERE operation = 'pay_project'")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "pay_project", "p", world.ada)]}


def test_a_finished_key_without_what_it_created(world: World) -> None:
    world.sql("itlc_tokens", """UPDATE idempotency_keys SET body = '{"id": 4711}' WHERE operation = 'top_up'""")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "top_up", "t", world.ada)]}


def test_a_settled_payment_whose_key_has_no_answer(world: World) -> None:
    world.sql("itlc_orders", "UPDATE idempotency_keys SET status = NULL WHERE operation = 'pay_project'")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "pay_project", "p", world.ada)]}


def test_documents_and_nodes_with_keys_without_answers(world: World) -> None:
    world.stores.mongo["itlc_pbfr"]["projects"].update_many({}, {"$unset": {"idempotency.answer.body": ""}})
    world.stores.graph("MATCH (k:IdempotencyKey) REMOVE k.answer")
    keys = [key_of(world, "create_project", "c", world.ada), key_of(world, "add_step", "s", world.bob)]
    assert world.broken() == {"finished_key_has_its_answer": keys}


def test_somebody_who_was_told_twice(world: World) -> None:
    with world.without("itlc_orders", "notifications_once"):
        (row,) = world.sql(
            "itlc_orders",
            "INSERT INTO notifications (user_id, message, about, event_id) "
            "SELECT user_id, message, about, event_id FROM notifications WHERE id = 1 RETURNING id",
        )
        assert world.broken() == {"one_notification_per_event": [f"notification:{row['id']}"]}


# What belongs together


def test_an_order_without_its_bid(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET bid_id = 4711 WHERE id = :id", id=world.open)
    (bid,) = world.sql("itlc_orders", "SELECT id FROM bidding WHERE order_id = :id", id=world.open)
    assert world.broken() == {"won_bid_has_its_order": [f"bid:{bid['id']}", f"order:{world.open}"]}


def test_a_bid_of_another_amount_than_its_order(world: World) -> None:
    (bid,) = world.sql("itlc_orders", "UPDATE bidding SET amount = 1 WHERE order_id = :id RETURNING id", id=world.open)
    assert world.broken() == {"won_bid_has_its_order": [f"bid:{bid['id']}"]}


def test_what_lives_on_of_who_was_erased(world: World) -> None:
    eve = holder("Eve")
    own = project_of(eve)
    world.sql("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=eve.user_id)
    assert world.broken() == {}  # the job is at it
    world.sql("itlc_users", f"UPDATE users SET erased_at = {LONG_AGO} WHERE id = :id", id=eve.user_id)
    told = "INSERT INTO notifications (user_id, message, about, event_id) VALUES (:u, 'a', 'order:1', :e) RETURNING id"
    (row,) = world.sql("itlc_orders", told, u=eve.user_id, e=uuid.uuid4())
    broken = world.broken()
    assert broken.keys() == {"nothing_refers_to_erased"}
    sessions = [name for name in broken["nothing_refers_to_erased"] if name.startswith("session:")]
    assert len(sessions) == 1
    rest = set(broken["nothing_refers_to_erased"]) - set(sessions)
    assert rest == {f"notification:{row['id']}", f"project:{own}"}


def test_a_project_that_does_not_follow_its_orders(world: World) -> None:
    projects = world.stores.mongo["itlc_pbfr"]["projects"]
    projects.update_one({"_id": ObjectId(world.project)}, {"$set": {"status": "open"}})
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


def test_a_project_that_is_behind_may_follow_for_two_minutes(world: World) -> None:
    projects = world.stores.mongo["itlc_pbfr"]["projects"]
    projects.update_one({"_id": ObjectId(world.project)}, {"$set": {"status": "open", "status_version": 1}})
    assert world.broken() == {}
    world.sql("itlc_orders", f"UPDATE project_progress SET updated_at = {LONG_AGO}")
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


def test_a_project_that_is_gone_though_it_has_orders(world: World) -> None:
    world.stores.mongo["itlc_pbfr"]["projects"].delete_one({"_id": ObjectId(world.project)})
    world.sql("itlc_orders", f"UPDATE project_progress SET updated_at = {LONG_AGO}")
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


# The run itself


def test_of_very_many_rows_all_are_counted_and_the_first_hundred_named(world: World) -> None:
    world.sql(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, status, made_by) "
        "SELECT 1, 1, 'completed', 1 FROM generate_series(1, 2500)",
    )
    finding = world.found()["topup_is_one_transfer"]
    assert (finding["broken"], len(finding["rows"])) == (2500, MOST_NAMED)
    assert finding["looked_at"] == 2500 + 3


@pytest.mark.parametrize("away", ["itlc_tokens", "itlc_orders", "itlc_pbfr", "Neo4j"])
def test_without_a_store_the_others_are_checked(world: World, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StoreAway(away)

    with monkeypatch.context() as patch:
        match away:
            case "itlc_pbfr":
                patch.setattr(mongo.DocumentStore, "read", refuse)
            case "Neo4j":
                patch.setattr(neo4j.graph, "read", refuse)
            case _:
                database = next(database for database in postgres.DATABASES if database.name == away)
                patch.setattr(database, "snapshot", refuse)
        found = world.found()
    unchecked = {name for name, finding in found.items() if finding["state"] == "not checked"}
    expected = {
        "itlc_tokens": {"topup_is_one_transfer"},
        "itlc_orders": {
            "paid_order_has_one_payment",
            "refunds_are_within_payment",
            "escrow_is_settled_once",
            "one_notification_per_event",
            "won_bid_has_its_order",
        },
        "itlc_pbfr": {"project_follows_its_orders"},
        "Neo4j": set(),
    }
    everywhere = {"outbox_is_sent_in_time", "finished_key_has_its_answer"}
    in_postgres = {
        "sent_event_is_consumed",
        "versions_have_no_gaps",
        "event_has_one_payload",
        "nothing_refers_to_erased",
    }
    if away in ("itlc_tokens", "itlc_orders"):
        everywhere |= in_postgres
    if away == "itlc_orders":
        everywhere |= {"project_follows_its_orders"}
    assert unchecked == expected[away] | everywhere
    for name in unchecked:
        assert found[name]["remark"] == f"{away} is away"
    for name in set(NAMES) - unchecked:
        assert found[name]["state"] == "holds"


def test_it_reads_and_changes_nothing(world: World) -> None:
    def attempt(write: str) -> Callable[[], Any]:
        def run() -> Any:
            with postgres.users.snapshot() as db:
                return db.exec_driver_sql(write)

        return run

    from sqlalchemy.exc import DBAPIError

    with pytest.raises(DBAPIError) as refused:
        attempt("UPDATE users SET tokens = 0")()
    assert postgres.sqlstate(refused.value) == "25006"  # read_only_sql_transaction


def test_what_changes_while_it_reads_is_not_seen(world: World) -> None:
    with postgres.users.snapshot() as db:
        before = db.exec_driver_sql("SELECT count(*) FROM users").scalar_one()
        holder("Late")
        assert db.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == before
