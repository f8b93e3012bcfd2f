"""The scheduled jobs, run by the emulator's own clock: each finds what has had its time in the stores, and ends it.

The template's schedules are from a minute to a day; here each rule is told to fire every minute.
"""

import uuid
from functools import partial

import pytest

from infra.local.deploy import Deployment
from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints
from tests.support.stack import Stores
from tests.support.waiting import eventually

PERSON = 900_001  # an id that no other test's user has

# The first minute's firing, and a cold start of every job at once.
by_the_clock = partial(eventually, within=180, pause=0.5)


@pytest.fixture(scope="module")
def notifications(all_stores: Stores) -> None:
    """One that was read long ago, one that is as old and was not, and one that was read just now."""
    for read, age in ((True, 91), (False, 91), (True, 1)):
        all_stores.rows(
            "itlc_orders",
            "INSERT INTO notifications (user_id, message, about, event_id, read_status, created_at) "
            "VALUES (:user_id, :message, 'order:1', :event_id, :read, now() - make_interval(days => :age))",
            user_id=PERSON,
            message=f"{read} {age}",
            event_id=uuid.uuid4(),
            read=read,
            age=age,
        )


@pytest.fixture(scope="module")
def old_bid(all_stores: Stores) -> int:
    """A bid that nobody took in a month."""
    (bid,) = all_stores.rows(
        "itlc_orders",
        "INSERT INTO bidding (bidder_id, amount, service_id, provider_id, provider_user_id, created_at) "
        "VALUES (:id, 10, :other, :other, :other, now() - interval '31 days') RETURNING id",
        id=PERSON,
        other=PERSON + 1,  # of no service that another test, on the same stack, will make
    )
    return int(bid["id"])


@pytest.fixture(scope="module")
def stuck_topup(all_stores: Stores) -> int:
    """A top-up that has been pending for two hours, and has no message."""
    (user,) = all_stores.rows(
        "itlc_users",
        "INSERT INTO users (name, email, password) VALUES ('Stuck', :email, 'x') RETURNING id",
        email=f"{uuid.uuid4()}@example.org",
    )
    (topup,) = all_stores.rows(
        "itlc_tokens",
        "INSERT INTO token_topups (user_id, made_by, amount, created_at) "
        "VALUES (:id, :id, 10, now() - interval '2 hours') RETURNING id",
        id=user["id"],
    )
    return int(topup["id"])


@pytest.fixture(scope="module")
def spent_key(all_stores: Stores) -> str:
    """An idempotency key whose time is over."""
    key = str(uuid.uuid4())
    all_stores.rows(
        "itlc_api",
        "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, status, body, expires_at) "
        "VALUES ('user:1', 'publish_service', :key, 'x', 201, '{}', now() - interval '1 minute')",
        key=key,
    )
    return key


@pytest.fixture(scope="module")
def waiting_event(all_stores: Stores) -> uuid.UUID:
    """An event that was not sent when it was written."""
    event_id = uuid.uuid4()
    all_stores.rows(
        "itlc_tokens",
        "INSERT INTO outbox (id, queue, type, aggregate, payload) "
        "VALUES (:id, 'projects', 'progress', 'project:0', CAST(:payload AS jsonb))",
        id=event_id,
        payload='{"project_id": "000000000000000000000000", "status": "open"}',
    )
    return event_id


@pytest.fixture(scope="module", autouse=True)
def every_minute(
    deployment: Deployment,
    endpoints: Endpoints,
    notifications: None,
    old_bid: int,
    stuck_topup: int,
    spent_key: str,
    waiting_event: uuid.UUID,
) -> None:
    """Every rule of the deployed stack fires each minute, once all is there that the jobs will find: so the tests wait
    for the same minute."""
    rules = aws_client(endpoints, "events")
    for rule in rules.list_rules()["Rules"]:
        rules.put_rule(Name=rule["Name"], ScheduleExpression="rate(1 minute)", State="ENABLED")


def test_purge_notifications_removes_what_was_read_long_ago(all_stores: Stores) -> None:
    def left() -> set[str]:
        rows = all_stores.rows("itlc_orders", "SELECT message FROM notifications WHERE user_id = :id", id=PERSON)
        return {row["message"] for row in rows}

    by_the_clock(lambda: left() == {"False 91", "True 1"}, "only the read, old notification is gone")


def test_expire_bids_ends_what_nobody_took(all_stores: Stores, old_bid: int) -> None:
    def status() -> str:
        (row,) = all_stores.rows("itlc_orders", "SELECT status FROM bidding WHERE id = :id", id=old_bid)
        return str(row["status"])

    by_the_clock(lambda: status() == "expired", "the old bid has expired")


def test_expire_topups_fails_what_is_stuck(all_stores: Stores, stuck_topup: int) -> None:
    def status() -> str:
        (row,) = all_stores.rows("itlc_tokens", "SELECT status FROM token_topups WHERE id = :id", id=stuck_topup)
        return str(row["status"])

    by_the_clock(lambda: status() == "failed", "the stuck top-up has failed")


def test_purge_expired_forgets_spent_keys(all_stores: Stores, spent_key: str) -> None:
    spent = "SELECT 1 FROM idempotency_keys WHERE key = :key"
    by_the_clock(lambda: not all_stores.rows("itlc_api", spent, key=spent_key), "the spent key is gone")


def test_relay_outbox_sends_what_waits(all_stores: Stores, waiting_event: uuid.UUID) -> None:
    sent = "SELECT 1 FROM outbox WHERE id = :id AND published_at IS NOT NULL"
    by_the_clock(lambda: bool(all_stores.rows("itlc_tokens", sent, id=waiting_event)), "the waiting event was sent")
