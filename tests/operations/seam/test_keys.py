"""What is kept under a key, and what a refusal that comes late may change of it: nothing."""

from typing import Any

import pytest
from itlc.errors import StillRunning
from itlc.idempotency import Answer, Key, Store
from itlc.stores import mongo, neo4j, postgres

from tests.support.stack import Stores

KEY = Key("user:1", "publish_service", "k", "fingerprint")
FIRST = Answer(201, '{"id": 1}', {"Location": "/services/1"})
REFUSAL = Answer(409, '{"status": 409}')


@pytest.mark.parametrize("store", [postgres.catalog, mongo.projects, neo4j.graph], ids=["rows", "documents", "nodes"])
def test_an_answer_that_was_kept_outlives_a_refusal(stores: Stores, store: Store) -> None:
    def answer(result: object) -> Answer:
        return FIRST

    def work(handle: Any) -> None:
        assert store.claim(handle, KEY, answer) is None
        if store is mongo.projects:
            handle.create({"name": "Garden"}, dict)
        store.keep(handle, KEY, FIRST)

    store.write(work)
    store.keep_refusal(KEY, REFUSAL)
    assert store.earlier_answer(KEY) == FIRST
    assert stores.documents("bookkeeping") == [], "nothing that would stand where the document's copy will"


def test_work_that_was_begun_gives_the_answer_whoever_is_refused_meanwhile(stores: Stores) -> None:
    postgres.catalog.write(lambda db: postgres.keys.begin(db, KEY))
    postgres.catalog.keep_refusal(KEY, REFUSAL)
    with pytest.raises(StillRunning):
        postgres.catalog.earlier_answer(KEY)
    postgres.catalog.write(lambda db: postgres.keys.answer_once(db, KEY, FIRST))
    assert postgres.catalog.earlier_answer(KEY) == FIRST


def test_a_refusal_is_kept_where_the_key_is_free(stores: Stores) -> None:
    postgres.catalog.keep_refusal(KEY, REFUSAL)
    assert postgres.catalog.earlier_answer(KEY) == REFUSAL


def test_a_refusal_is_kept_where_the_time_of_what_was_kept_is_over(stores: Stores) -> None:
    postgres.catalog.write(lambda db: postgres.keys.keep(db, KEY, FIRST))
    stores.rows("itlc_api", "UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    postgres.catalog.keep_refusal(KEY, REFUSAL)
    assert postgres.catalog.earlier_answer(KEY) == REFUSAL


def test_work_that_was_begun_is_answered_by_what_it_keeps(stores: Stores) -> None:
    postgres.catalog.write(lambda db: postgres.keys.begin(db, KEY))
    postgres.catalog.write(lambda db: postgres.keys.keep(db, KEY, FIRST))
    assert postgres.catalog.earlier_answer(KEY) == FIRST


def test_work_that_is_begun_anew_under_a_key_that_ran_out_may_be_running(stores: Stores) -> None:
    postgres.catalog.write(lambda db: postgres.keys.begin(db, KEY))
    ran_out = "created_at = now() - interval '25 hours', expires_at = now() - interval '1 hour'"
    stores.rows("itlc_api", f"UPDATE idempotency_keys SET {ran_out}")
    postgres.catalog.write(lambda db: postgres.keys.begin(db, KEY))
    with pytest.raises(StillRunning):
        postgres.catalog.earlier_answer(KEY)
