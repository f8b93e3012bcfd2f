"""What has had its time goes, what has not stays, in every store; a store that fails keeps no other from it."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from itlc.accounts import expiry
from itlc.errors import StoreAway
from itlc.operation import Deadline
from itlc.stores import mongo, postgres
from itlc.system import purge

from tests.support.calling import run_scheduled
from tests.support.stack import Stores

NOTHING = {"keys": 0, "events": 0, "sessions": 0, "counts": 0, "failed": 0}


def add_keys(stores: Stores, database: str, age: str, *keys: str) -> None:
    """Idempotency keys that expire now plus `age`."""
    for key in keys:
        stores.rows(
            database,
            "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, status, headers, body, expires_at) "
            "VALUES ('user:1', 'publish_service', :key, '-', 201, '{}', '{}', now() + CAST(:age AS interval))",
            key=key,
            age=age,
        )


def test_spent_keys_go_and_living_ones_stay(stores: Stores) -> None:
    for database in postgres.DATABASES:
        add_keys(stores, database.name, "-1 second", "spent")
        add_keys(stores, database.name, "1 hour", "alive")
    for name, days in (("spent", -1), ("alive", 1)):
        kept = {"key": name, "fingerprint": "-", "answer": {}, "expires_at": datetime.now(UTC) + timedelta(days=days)}
        stores.mongo["itlc_pbfr"]["blogs"].insert_one({"title": name, "idempotency": kept})
        stores.graph(
            "CREATE (:IdempotencyKey {identity: $name, expires_at: datetime() + duration({days: $days})})",
            name=name,
            days=days,
        )
    assert run_scheduled("purge_expired") == {**NOTHING, "keys": 7}
    for database in postgres.DATABASES:
        assert stores.rows(database.name, "SELECT key FROM idempotency_keys") == [{"key": "alive"}]
    assert {document["title"]: "idempotency" in document for document in stores.documents("blogs")} == {
        "spent": False,
        "alive": True,
    }
    assert stores.graph("MATCH (k:IdempotencyKey) RETURN k.identity AS name") == [{"name": "alive"}]
    assert run_scheduled("purge_expired") == NOTHING


def test_events_go_when_none_can_come_again_and_never_before_they_are_sent(stores: Stores) -> None:
    for name, sent, received in (("old", "16 days", "31 days"), ("recent", "14 days", "29 days")):
        stores.rows(
            "itlc_orders",
            "INSERT INTO outbox (id, queue, type, aggregate, payload, created_at, published_at) VALUES "
            "(:id, 'notifications', :name, 'order:1', '{}', now() - interval '20 days', "
            "now() - CAST(:ago AS interval))",
            id=uuid.uuid4(),
            name=name,
            ago=sent,
        )
        stores.rows(
            "itlc_orders",
            "INSERT INTO inbox (consumer, message_id, received_at) VALUES (:name, :id, now() - CAST(:ago AS interval))",
            name=name,
            id=uuid.uuid4(),
            ago=received,
        )
    stores.rows(
        "itlc_orders",
        "INSERT INTO outbox (id, queue, type, aggregate, payload, created_at) "
        "VALUES (:id, 'notifications', 'waiting', 'order:1', '{}', now() - interval '20 days')",
        id=uuid.uuid4(),
    )
    for name, days in (("old", 16), ("recent", 14)):
        sent_at = datetime.now(UTC) - timedelta(days=days)
        stores.mongo["itlc_pbfr"]["sent_events"].insert_one({"_id": name, "published_at": sent_at})
        stores.graph("CREATE (:SentEvent {id: $name, published_at: $at})", name=name, at=sent_at)
    stores.graph("CREATE (:Outbox {id: 'waiting', created_at: datetime() - duration({days: 20})})")
    assert run_scheduled("purge_expired") == {**NOTHING, "events": 4}
    assert {row["type"] for row in stores.rows("itlc_orders", "SELECT type FROM outbox")} == {"recent", "waiting"}
    assert [document["_id"] for document in stores.documents("sent_events")] == ["recent"]
    left = stores.graph("MATCH (e) WHERE e:SentEvent OR e:Outbox RETURN e.id AS id ORDER BY id")
    assert left == [{"id": "recent"}, {"id": "waiting"}]
    assert stores.rows("itlc_orders", "SELECT consumer FROM inbox") == [{"consumer": "recent"}]


def test_sessions_and_resets_go_a_day_after_their_end(stores: Stores) -> None:
    stores.rows("itlc_users", "INSERT INTO users (id, name, email, password) VALUES (1, 'Ada', 'ada@example.org', '-')")
    sessions = {
        "over": ("-2 days", None),
        "ended": ("10 days", "-2 days"),
        "just over": ("-1 hour", None),
        "alive": ("10 days", None),
    }
    for name, (expires, ended) in sessions.items():
        session = uuid.uuid4()
        stores.rows(
            "itlc_users",
            "INSERT INTO sessions (id, user_id, expires_at, ended_at) VALUES "
            "(:id, 1, now() + CAST(:expires AS interval), now() + CAST(:ended AS interval))",
            id=session,
            expires=expires,
            ended=ended,
        )
        stores.rows("itlc_users", "INSERT INTO refresh_tokens (hash, session_id) VALUES (:n, :s)", n=name, s=session)
    stores.rows(
        "itlc_users",
        "INSERT INTO refresh_tokens (hash, session_id, spent_at) "
        "SELECT 'long spent', session_id, now() - interval '31 days' FROM refresh_tokens WHERE hash = 'alive'",
    )
    for name, expires, used in (
        ("used", "1 hour", "-2 days"),
        ("over", "-2 days", None),
        ("just used", "1 hour", "-1 hour"),
        ("just over", "-1 hour", None),
        ("open", "1 hour", None),
    ):
        stores.rows(
            "itlc_users",
            "INSERT INTO password_resets (hash, user_id, event_id, expires_at, used_at) VALUES "
            "(:name, 1, gen_random_uuid(), now() + CAST(:expires AS interval), now() + CAST(:used AS interval))",
            name=name,
            expires=expires,
            used=used,
        )
    assert run_scheduled("purge_expired") == {**NOTHING, "sessions": 7}
    tokens = {row["hash"] for row in stores.rows("itlc_users", "SELECT hash FROM refresh_tokens")}
    assert tokens == {"just over", "alive"}
    assert len(stores.rows("itlc_users", "SELECT id FROM sessions")) == 2
    resets = {row["hash"] for row in stores.rows("itlc_users", "SELECT hash FROM password_resets")}
    assert resets == {"just used", "just over", "open"}


def test_a_session_that_was_refreshed_very_often_goes_when_its_tokens_have_gone_in_batches(stores: Stores) -> None:
    stores.rows("itlc_users", "INSERT INTO users (id, name, email, password) VALUES (1, 'Ada', 'ada@example.org', '-')")
    stores.rows(
        "itlc_users",
        "INSERT INTO sessions (id, user_id, expires_at) "
        "SELECT gen_random_uuid(), 1, now() - interval '2 days' FROM generate_series(1, 3)",
    )
    stores.rows(
        "itlc_users",
        "INSERT INTO refresh_tokens (hash, session_id, spent_at) "
        "SELECT s.id::text || n, s.id, now() FROM sessions s, generate_series(1, 5) n",
    )
    left: list[tuple[int, int]] = []
    while postgres.users.write(lambda db: expiry.purge_sessions(db, 2)):
        (row,) = stores.rows(
            "itlc_users",
            "SELECT (SELECT count(*) FROM sessions) AS sessions, (SELECT count(*) FROM refresh_tokens) AS tokens",
        )
        left.append((row["sessions"], row["tokens"]))
    assert [tokens for _, tokens in left[:7]] == [13, 11, 9, 7, 5, 3, 1], "never more than two at once"
    assert left[-1] == (0, 0)


def test_it_works_in_batches_until_its_time_is_up(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "BATCH", 2)
    add_keys(stores, "itlc_tokens", "-1 second", "a", "b", "c", "d", "e")
    assert purge.purge(Deadline(at=time.monotonic() - 1)) == NOTHING
    assert len(stores.rows("itlc_tokens", "SELECT key FROM idempotency_keys")) == 5
    assert purge.purge(Deadline(at=time.monotonic() + 30)) == {**NOTHING, "keys": 5}
    assert stores.rows("itlc_tokens", "SELECT key FROM idempotency_keys") == []


def test_a_store_that_is_away_keeps_no_other_from_being_purged(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise StoreAway("away")

    add_keys(stores, "itlc_templates", "-1 second", "spent")
    monkeypatch.setattr(postgres.users, "write", fail)
    monkeypatch.setattr(mongo.DocumentStore, "read", fail)
    done = run_scheduled("purge_expired")
    assert done["keys"] == 1
    assert done["failed"] == 11 + len(mongo.STORES)
