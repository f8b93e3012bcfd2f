"""Reconciliation: each clause of its queries by itself. One thing is damaged that this clause alone can see; the
invariant reports that row, and no other invariant reports any."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from itlc.stores import mongo, postgres
from itlc.wallet import personal_data as wallet

from tests.operations.system.test_reconciliation_messages import key_of
from tests.operations.system.world import LONG_AGO, World
from tests.support.calling import As, nobody
from tests.support.kept import Kept
from tests.support.market import member, open_bid, order_in, provider_of, service_of
from tests.support.money import give, holder
from tests.support.queues import drain

NOT_THERE, NO_PROJECT = 4711, "0" * 24
UNANSWERED = "status = NULL, headers = NULL, body = NULL"


@pytest.fixture(scope="module")
def played_world(played_world: World) -> World:
    """The world in which, besides, one request with a key was made of each kind that creates something."""

    def asked(who: As, operation: str, body: Any = None, **ids: Any) -> Any:
        answer = who.call(operation, body, key="k", **ids)
        assert answer.status == 201, answer.text
        return answer.json.get("id")

    ada, cleo = played_world.ada, holder("Cleo")
    asked(nobody, "register_user", {"name": "Dan", "email": "dan@example.org", "password": "quite a long one"})
    asked(cleo, "become_provider", {"name": "Cleo's gardens"})
    service_id = asked(cleo, "publish_service", {"name": "Gardening", "description": "Roses."})
    bid_id = asked(ada, "place_bid", {"amount": "25.00"}, service_id=service_id)
    order_id = asked(cleo, "make_order", bid_id=bid_id)
    assert cleo.call("check_in", {"status": "started"}, order_id=order_id).status == 201
    asked(cleo, "check_in", {"status": "completed"}, order_id=order_id)
    asked(ada, "pay_order", order_id=order_id)
    drain()
    played_world.as_it_was = Kept(played_world.stores)
    return played_world


# Orders and their payments


def add_payment(world: World, status: str, *, order_id: int | None = None, tokens: int = 15, key: str = "none") -> str:
    """The id of a payment of Ada's to Bob that nobody asked for: of one order, or of none."""
    payment_id = str(uuid.uuid4())
    world.sql(
        "itlc_orders",
        "INSERT INTO payments (id, customer_id, tokens, rate, status, key_caller, key_operation, key, key_fingerprint) "
        "VALUES (:id, :ada, :tokens, 1, :status, :caller, 'pay_order', :key, 'f')",
        id=payment_id,
        ada=world.ada.user_id,
        tokens=tokens,
        status=status,
        caller=f"user:{world.ada.user_id}",
        key=key,
    )
    if order_id is not None:
        world.sql(
            "itlc_orders",
            "INSERT INTO payment_orders (payment_id, order_id, tokens, provider_user_id) "
            "VALUES (:id, :order_id, :tokens, :bob)",
            id=payment_id,
            order_id=order_id,
            tokens=tokens,
            bob=world.bob.user_id,
        )
    return payment_id


def test_a_payment_that_is_not_the_sum_of_its_orders(world: World) -> None:
    (payment,) = world.sql(
        "itlc_orders",
        "UPDATE payments SET tokens = payments.tokens + 1 FROM payment_orders po "
        "WHERE po.payment_id = payments.id AND po.order_id = :id RETURNING payments.id",
        id=world.paid,
    )
    assert world.broken() == {"paid_order_has_one_payment": [f"payment:{payment['id']}"]}


def test_a_payment_of_no_orders(world: World) -> None:
    payment_id = add_payment(world, "settled")
    assert world.broken() == {"paid_order_has_one_payment": [f"payment:{payment_id}"]}


@pytest.mark.parametrize("status", ["settled", "paying"])
def test_a_payment_whose_order_is_gone(world: World, status: str) -> None:
    with world.without("itlc_orders", "payment_orders_order_id_fkey"):
        add_payment(world, status, order_id=NOT_THERE, tokens=0)
        assert world.broken() == {"paid_order_has_one_payment": [f"order:{NOT_THERE}"]}


def test_an_order_that_is_being_paid_by_no_payment(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET status = 'paying' WHERE id = :id", id=world.open)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.open}"]}


def test_a_payment_that_is_being_made_of_an_order_that_is_not_being_paid(world: World) -> None:
    add_payment(world, "paying", order_id=world.open)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.open}"]}


def test_a_payment_that_stays_under_way_and_took_nothing_yet(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET status = 'paying' WHERE id = :id", id=world.open)
    payment_id = add_payment(world, "paying", order_id=world.open)
    assert world.broken() == {}  # on its way
    world.sql("itlc_orders", f"UPDATE payments SET created_at = {LONG_AGO} WHERE id = :id", id=payment_id)
    assert world.broken() == {"escrow_is_settled_in_time": [f"payment:{payment_id}"]}


def test_a_refund_that_stays_under_way(world: World) -> None:
    key_with(world, "itlc_orders", UNANSWERED, "refund_order", "r2")
    (refund,) = world.sql(
        "itlc_orders",
        f"UPDATE refunds SET status = 'refunding', created_at = {LONG_AGO} WHERE key = 'r2' RETURNING id",
    )
    world.sql(
        "itlc_orders",
        "UPDATE orders SET status = 'paid', refunded_tokens = 10, refunded_amount = 10 WHERE id = :id",
        id=world.refunded,
    )
    assert world.broken() == {"escrow_is_settled_in_time": [f"refund:{refund['id']}"]}


@pytest.mark.parametrize(("of_order", "of_bid"), [("user_id", "bidder_id"), ("provider_user_id", "provider_user_id")])
def test_a_paid_order_of_another_party_than_its_payment(world: World, of_order: str, of_bid: str) -> None:
    root = world.admin.user_id
    world.sql("itlc_orders", f"UPDATE orders SET {of_order} = :root WHERE id = :id", root=root, id=world.paid)
    world.sql("itlc_orders", f"UPDATE bidding SET {of_bid} = :root WHERE order_id = :id", root=root, id=world.paid)
    assert world.broken() == {"paid_order_has_one_payment": [f"order:{world.paid}"]}


# Bids and their orders


@pytest.mark.parametrize(
    "change",
    [
        "bidder_id = 4711",
        "provider_user_id = 4711",
        "provider_id = 4711",
        "service_id = 4711",
        "project_id = repeat('0', 24)",
        "project_id = NULL",
    ],
)
def test_a_bid_that_says_something_else_than_its_order(world: World, change: str) -> None:
    (bid,) = world.sql("itlc_orders", f"UPDATE bidding SET {change} WHERE order_id = :id RETURNING id", id=world.paid)
    assert world.broken() == {"won_bid_has_its_order": [f"bid:{bid['id']}"]}


def test_a_bid_keeps_its_project_a_moment_longer_than_its_order_when_its_bidder_leaves(world: World) -> None:
    world.sql("itlc_orders", "INSERT INTO closed_accounts (user_id) VALUES (:ada)", ada=world.ada.user_id)
    world.sql("itlc_orders", "UPDATE bidding SET project_id = NULL WHERE bidder_id = :ada", ada=world.ada.user_id)
    assert world.broken() == {}


def test_keys_go_with_the_payments_that_remember_them(world: World) -> None:
    assert world.ada.user_id is not None
    postgres.orders.write(lambda db: wallet.erase(db, world.ada.user_id or 0))
    assert world.broken() == {}


# What is left of who was erased


def tokens(world: World, eve: As) -> str:
    assert eve.user_id is not None
    give(eve.user_id, 5)
    return f"user:{eve.user_id}"


def provider(world: World, eve: As) -> str:
    return f"provider:{provider_of(eve)}"


def service(world: World, eve: As) -> str:
    service_id = service_of(eve)
    erase_provider(world, eve)
    return f"service:{service_id}"


def erase_provider(
    world: World, eve: As, *, name: str = "'(erased)'", email: str = "'erased-' || id || '@invalid'"
) -> int:
    """Erase a provider's profile as the job does, or not quite."""
    (row,) = world.sql(
        "itlc_api",
        f"UPDATE providers SET name = {name}, email = {email}, erased_at = now() WHERE user_id = :id RETURNING id",
        id=eve.user_id,
    )
    return int(row["id"])


def provider_with_name(world: World, eve: As) -> str:
    provider_of(eve)
    return f"provider:{erase_provider(world, eve, name='name')}"


def provider_with_address(world: World, eve: As) -> str:
    provider_of(eve)
    return f"provider:{erase_provider(world, eve, email='email')}"


def session_ended(world: World, eve: As) -> uuid.UUID:
    """The id of a session of hers that has ended."""
    session_id = uuid.uuid4()
    world.sql(
        "itlc_users",
        "INSERT INTO sessions (id, user_id, expires_at, ended_at, end_reason) "
        "VALUES (:id, :eve, now(), now(), 'erased')",
        id=session_id,
        eve=eve.user_id,
    )
    return session_id


def refresh_token(world: World, eve: As) -> str:
    session_id = session_ended(world, eve)
    world.sql("itlc_users", "INSERT INTO refresh_tokens (hash, session_id) VALUES ('h', :id)", id=session_id)
    return f"refresh_token_of_user:{eve.user_id}"


def password_reset(world: World, eve: As) -> str:
    world.sql(
        "itlc_users",
        "INSERT INTO password_resets (hash, user_id, expires_at, event_id) VALUES ('h', :eve, now(), :event)",
        eve=eve.user_id,
        event=uuid.uuid4(),
    )
    return f"password_reset_of_user:{eve.user_id}"


def known_address(world: World, eve: As) -> str:
    world.sql("itlc_users", "INSERT INTO known_addresses (user_id, address) VALUES (:eve, 'a')", eve=eve.user_id)
    return f"known_address_of_user:{eve.user_id}"


def bid_made(world: World, eve: As) -> str:
    return f"bid:{open_bid(eve, service_of(world.bob))}"


def bid_received(world: World, eve: As) -> str:
    bid_id = open_bid(world.ada, service_of(world.bob))
    world.sql("itlc_orders", "UPDATE bidding SET provider_user_id = :eve WHERE id = :id", eve=eve.user_id, id=bid_id)
    return f"bid:{bid_id}"


def closed_bid(world: World, eve: As, change: str) -> str:
    """A bid of hers that was rejected, with something of hers left."""
    bid_id = open_bid(eve, service_of(world.bob))
    world.sql("itlc_orders", f"UPDATE bidding SET status = 'rejected', {change} WHERE id = :id", id=bid_id)
    return f"bid:{bid_id}"


def bid_with_message(world: World, eve: As) -> str:
    return closed_bid(world, eve, "message = 'a'")


def bid_of_project(world: World, eve: As) -> str:
    return closed_bid(world, eve, f"project_id = '{NO_PROJECT}'")


def order_of_project(world: World, eve: As) -> str:
    order_id = order_in("cancelled", eve, world.bob)
    world.sql("itlc_orders", "INSERT INTO closed_accounts (user_id) VALUES (:eve)", eve=eve.user_id)
    world.sql("itlc_orders", f"UPDATE orders SET project_id = '{NO_PROJECT}' WHERE id = :id", id=order_id)
    return f"order:{order_id}"


def order_with_reason(world: World, eve: As) -> str:
    order_id = order_in("cancelled", eve, world.bob)
    world.sql("itlc_orders", "UPDATE orders SET cancelled_by = :eve WHERE id = :id", eve=eve.user_id, id=order_id)
    return f"order:{order_id}"


def order_with_anothers_reason(world: World, eve: As) -> None:
    order_in("cancelled", eve, world.bob)


def project_progress(world: World, eve: As) -> str:
    world.sql(
        "itlc_orders",
        "INSERT INTO project_progress (project_id, owner_id, status, version) "
        f"VALUES ('{NO_PROJECT}', :eve, 'open', 0)",
        eve=eve.user_id,
    )
    return f"project_progress:{NO_PROJECT}"


def provided(world: World, eve: As) -> int:
    """The id of an order that she had as a provider, and that came to nothing."""
    order_id = order_in("cancelled", world.ada, world.bob)
    for table, column in (("orders", "id"), ("bidding", "order_id")):
        change = f"UPDATE {table} SET provider_user_id = :eve WHERE {column} = :id"
        world.sql("itlc_orders", change, eve=eve.user_id, id=order_id)
    return order_id


def checkin_with_note(world: World, eve: As) -> str:
    (row,) = world.sql(
        "itlc_orders",
        "INSERT INTO checkins (order_id, status, note) VALUES (:id, 'blocked', 'a') RETURNING id",
        id=provided(world, eve),
    )
    return f"checkin:{row['id']}"


def payment_ended(world: World, eve: As, change: str) -> str:
    payment_id = add_payment(world, "declined", tokens=0, key="")
    world.sql(
        "itlc_orders",
        f"UPDATE payments SET customer_id = :eve, {change} WHERE id = :id",
        eve=eve.user_id,
        id=payment_id,
    )
    return f"payment:{payment_id}"


def payment_with_key(world: World, eve: As) -> str:
    return payment_ended(world, eve, "key = 'a'")


def payment_of_project(world: World, eve: As) -> str:
    return payment_ended(world, eve, f"project_id = '{NO_PROJECT}'")


def payment_without_either(world: World, eve: As) -> None:
    payment_ended(world, eve, "key = ''")


def refund_with_key(world: World, eve: As, status: str = "declined") -> str:
    refund_id = uuid.uuid4()
    world.sql(
        "itlc_orders",
        "INSERT INTO refunds (id, order_id, amount, tokens, status, key_caller, key_operation, key, key_fingerprint) "
        "VALUES (:id, :order_id, 1, 1, :status, :caller, 'refund_order', 'a', 'f')",
        id=refund_id,
        status=status,
        order_id=provided(world, eve),
        caller=f"user:{eve.user_id}",
    )
    return f"refund:{refund_id}"


def refund_under_way_with_key(world: World, eve: As) -> str:
    return refund_with_key(world, eve, "refunding")


def key_in(database: str) -> Callable[[World, As], str]:
    def add_key(world: World, eve: As) -> str:
        world.sql(
            database,
            "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, status, headers, body, expires_at) "
            "VALUES (:caller, 'x', 'k', 'f', 201, '{}', '{}', now())",
            caller=f"user:{eve.user_id}",
        )
        return key_of(world, "x", "k", eve)

    add_key.__name__ = f"key_in_{database}"
    return add_key


def key_in_mongodb(world: World, eve: As) -> str:
    name = key_of(world, "x", "k", eve)
    kept = {"key": name.removeprefix("key:"), "answer": {"status": 201, "headers": {}, "body": "{}"}}
    world.stores.mongo["itlc_pbfr"]["bookkeeping"].insert_one({"idempotency": kept})
    return name


def key_in_the_graph(world: World, eve: As) -> str:
    name = key_of(world, "x", "k", eve)
    world.stores.graph(
        "CREATE (:IdempotencyKey {identity: $identity, answer: '{}', fingerprint: 'f', expires_at: datetime()})",
        identity=name.removeprefix("key:"),
    )
    return name


def order_made(world: World, eve: As) -> str:
    return f"order:{order_in('created', eve, world.bob)}"


def order_received(world: World, eve: As) -> str:
    values = {"eve": eve.user_id, "id": world.open}
    world.sql("itlc_orders", "UPDATE orders SET provider_user_id = :eve WHERE id = :id", **values)
    world.sql("itlc_orders", "UPDATE bidding SET provider_user_id = :eve WHERE order_id = :id", **values)
    return f"order:{world.open}"


def order_completed(world: World, eve: As) -> str:
    return f"order:{order_in('completed', eve, world.bob)}"


def order_being_paid(world: World, eve: As) -> str:
    order_id = order_in("paying", eve, world.bob, "15.00")
    payment_id = add_payment(world, "paying", order_id=order_id)
    world.sql("itlc_orders", "UPDATE payments SET customer_id = :eve WHERE id = :id", eve=eve.user_id, id=payment_id)
    return f"order:{order_id}"


def topup(world: World, eve: As) -> str:
    (row,) = world.sql(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, amount, made_by) VALUES (:e, 3, :e) RETURNING id",
        e=eve.user_id,
    )
    return f"topup:{row['id']}"


def add_document(world: World, collection: str, eve: As, **fields: Any) -> Any:
    """The id of a new document of Eve's."""
    moment = mongo.now()
    document = {"user_id": eve.user_id, "created_at": moment, "updated_at": moment, "version": 1, **fields}
    return world.stores.mongo["itlc_pbfr"][collection].insert_one(document).inserted_id


def blog(world: World, eve: As) -> str:
    return f"blog:{add_document(world, 'blogs', eve, title='a', content='b', author='Eve')}"


def faq(world: World, eve: As) -> str:
    return f"faq:{add_document(world, 'faqs', eve, question='a', answer='b')}"


def review(world: World, eve: As) -> str:
    return f"review:{add_document(world, 'reviews', eve, review='a')}"


def rating_in_words(world: World, eve: As) -> str:
    return f"rating:{add_document(world, 'ratings', eve, rating=4, review='a', order_id=NOT_THERE)}"


def rating_without_words(world: World, eve: As) -> str:
    return f"rating:{add_document(world, 'ratings', eve, rating=4, review=None, order_id=NOT_THERE)}"


def rating_of_nobody(world: World, eve: As) -> None:
    """The one thing that may stay: it names nobody, and the service's mean needs it."""
    add_document(world, "ratings", eve, rating=4, review=None, order_id=NOT_THERE, user_id=None)


def rating_of_nobody_in_words(world: World, eve: As) -> str:
    fields = {"rating": 4, "review": "a", "order_id": NOT_THERE, "user_id": None}
    return f"rating:{add_document(world, 'ratings', eve, **fields)}"


@pytest.mark.parametrize(
    "left",
    [
        *(tokens, refresh_token, password_reset, known_address),
        *(provider, provider_with_name, provider_with_address, service),
        *(bid_made, bid_received, bid_with_message, bid_of_project),
        *(order_made, order_received, order_completed, order_being_paid),
        *(order_of_project, order_with_reason, order_with_anothers_reason, checkin_with_note, project_progress),
        *(payment_with_key, payment_of_project, payment_without_either, topup),
        *(refund_with_key, refund_under_way_with_key),
        *(key_in(database.name) for database in postgres.DATABASES),
        *(key_in_mongodb, key_in_the_graph),
        *(blog, faq, review, rating_in_words, rating_without_words, rating_of_nobody, rating_of_nobody_in_words),
    ],
    ids=lambda left: left.__name__,
)
def test_what_is_left_of_who_was_erased(world: World, left: Callable[[World, As], str | None]) -> None:
    eve = member("Eve")
    name = left(world, eve)
    world.erase(eve)
    assert world.broken() == ({"nothing_refers_to_erased": [name]} if name else {})


@pytest.mark.parametrize("change", ["name = 'Eve'", "email = 'eve@example.org'", "is_admin = true"])
def test_what_was_put_back_of_who_was_erased(world: World, change: str) -> None:
    eve = member("Eve")
    world.erase(eve)
    world.sql("itlc_users", f"UPDATE users SET {change} WHERE id = :id", id=eve.user_id)
    assert world.broken() == {"nothing_refers_to_erased": [f"user:{eve.user_id}"]}


def test_keys_of_who_is_there_or_was_just_erased_may_be_in_any_store(world: World) -> None:
    eve, dan = member("Eve"), member("Danny")
    world.erase(eve, at="now()")
    for who in (eve, dan):
        for add_key in (*(key_in(database.name) for database in postgres.DATABASES), key_in_mongodb, key_in_the_graph):
            add_key(world, who)
    assert world.broken() == {}


# Versions


def test_a_version_that_was_given_twice(world: World) -> None:
    """As many versions as from the first to the last: only that two of them are the same tells."""
    world.sql(
        "itlc_orders", "UPDATE outbox SET aggregate_version = 1 WHERE queue = 'projects' AND aggregate_version = 2"
    )
    assert world.broken() == {"versions_have_no_gaps": [f"project:{world.project}"]}


# Kept answers


def key_with(world: World, database: str, change: str, operation: str, key: str = "k") -> str:
    """Change the key of a request; returns how it is named."""
    (row,) = world.sql(
        database,
        f"UPDATE idempotency_keys SET {change} WHERE operation = :operation AND key = :key RETURNING caller",
        operation=operation,
        key=key,
    )
    return f"key:{json.dumps([row['caller'], operation, key])}"


@pytest.mark.parametrize(
    ("database", "operation", "key"),
    [
        ("itlc_users", "register_user", "k"),
        ("itlc_api", "become_provider", "k"),
        ("itlc_api", "publish_service", "k"),
        ("itlc_orders", "place_bid", "k"),
        ("itlc_orders", "make_order", "k"),
        ("itlc_orders", "check_in", "k"),
        ("itlc_orders", "refund_order", "r1"),
    ],
)
def test_an_answer_that_tells_of_what_is_not_there(world: World, database: str, operation: str, key: str) -> None:
    name = key_with(world, database, f"body = jsonb_set(body::jsonb, '{{id}}', '{NOT_THERE}')::text", operation, key)
    assert world.broken() == {"finished_key_has_its_answer": [name]}


@pytest.mark.parametrize(("operation", "key"), [("pay_order", "k"), ("pay_project", "p")])
def test_an_answer_that_tells_of_a_payment_that_nobody_made(world: World, operation: str, key: str) -> None:
    world.sql(
        "itlc_orders", "UPDATE payments SET key = 'another' WHERE key_operation = :o AND key = :k", o=operation, k=key
    )
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, operation, key, world.ada)]}


def test_an_answer_that_tells_of_a_payment_that_was_declined(world: World) -> None:
    world.sql("itlc_orders", "UPDATE payments SET key = 'another' WHERE key_operation = 'pay_order'")
    add_payment(world, "declined", tokens=0, key="k")
    assert world.broken() == {"finished_key_has_its_answer": [key_of(world, "pay_order", "k", world.ada)]}


@pytest.mark.parametrize(
    ("database", "operation", "key"),
    [
        ("itlc_users", "register_user", "k"),
        ("itlc_api", "publish_service", "k"),
        ("itlc_orders", "place_bid", "k"),
        ("itlc_tokens", "top_up", "t"),
    ],
)
def test_a_key_that_is_begun_though_nothing_is_under_way(world: World, database: str, operation: str, key: str) -> None:
    name = key_with(world, database, UNANSWERED, operation, key)
    assert world.broken() == {"finished_key_has_its_answer": [name]}


def test_a_settled_refund_whose_key_has_no_answer(world: World) -> None:
    name = key_with(world, "itlc_orders", UNANSWERED, "refund_order", "r1")
    assert world.broken() == {"finished_key_has_its_answer": [name]}


def test_a_refund_that_is_being_made_has_no_answer_yet(world: World) -> None:
    key_with(world, "itlc_orders", UNANSWERED, "refund_order", "r2")
    world.sql("itlc_orders", "UPDATE refunds SET status = 'refunding' WHERE key = 'r2'")
    world.sql(
        "itlc_orders",
        "UPDATE orders SET status = 'paid', refunded_tokens = 10, refunded_amount = 10 WHERE id = :id",
        id=world.refunded,
    )
    assert world.broken() == {}


def test_a_payment_that_is_being_made_has_no_answer_yet(world: World) -> None:
    world.sql("itlc_orders", "UPDATE payments SET key = 'another' WHERE key_operation = 'pay_order'")
    key_with(world, "itlc_orders", UNANSWERED, "pay_order")
    world.sql("itlc_orders", "UPDATE orders SET status = 'paying' WHERE id = :id", id=world.open)
    add_payment(world, "paying", order_id=world.open, key="k")
    assert world.broken() == {}
