"""Clean-ups of a great many rows: in batches, within their time, in memory that does not grow, and to the end."""

import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from itlc.operation import Deadline, Operation

from tests.faults.aftermath import let_time_pass
from tests.faults.paths import Market, left_to_the_queue, unsent
from tests.faults.scale import FULL, scaled
from tests.support.calling import Context, operation
from tests.support.queues import receive_all
from tests.support.stack import Stores

ROWS = scaled(full=1_000_000, share=20_000)
KEPT = 500
"""Rows of each kind that still have their time."""
MOST_BYTES = 8 * 1024 * 1024
"""What a run may take at once, however many rows there are: a thousand rows of a kilobyte are an eighth of that."""

FILL = {
    "itlc_orders": (
        "INSERT INTO notifications (user_id, message, read_status, created_at, about, event_id) SELECT 1, 'Paid.', "
        "true, now() - CASE WHEN n <= :kept THEN interval '89 days' ELSE interval '91 days' END, 'order:1', "
        "gen_random_uuid() FROM generate_series(1, :rows) n",
        "INSERT INTO notifications (user_id, message, read_status, created_at, about, event_id) SELECT 1, 'Unread.', "
        "false, now() - interval '2 years', 'order:1', gen_random_uuid() FROM generate_series(1, :kept) n",
        "INSERT INTO inbox (consumer, message_id, received_at) SELECT 'c', gen_random_uuid(), now() - "
        "CASE WHEN n <= :kept THEN interval '29 days' ELSE interval '31 days' END FROM generate_series(1, :rows) n",
        "INSERT INTO outbox (id, queue, type, aggregate, payload, published_at) SELECT gen_random_uuid(), "
        "'notifications', 'notice', 'order:1', '{}', now() - CASE WHEN n <= :kept THEN interval '14 days' "
        "ELSE interval '16 days' END FROM generate_series(1, :rows) n",
        "INSERT INTO idempotency_keys (caller, operation, key, fingerprint, status, expires_at) SELECT 'user:1', 'o', "
        "n, 'f', 201, now() + CASE WHEN n <= :kept THEN interval '1 hour' ELSE interval '-1 hour' END "
        "FROM generate_series(1, :rows) n",
        "ANALYZE",
    )
}
DOCUMENTS = scaled(full=100_000, share=2_000)
"""Of each kind in MongoDB, whose embedded server reads all of them for each statement: seconds, the first time."""
LEFT = {"notifications": 2 * KEPT, "inbox": KEPT, "outbox": KEPT, "idempotency_keys": KEPT}


class NoTime(Context):
    """A function whose time is up."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left."""
        return 0


def fill_bookkeeping(stores: Stores) -> None:
    """Answers that were kept for requests, spent and still good ones, and documents that hold nothing any more."""
    documents = stores.mongo["itlc_pbfr"]["bookkeeping"]
    now = datetime.now(UTC)
    for begin in range(0, DOCUMENTS, 1000):
        some = range(begin, begin + 1000)
        expires_at = now - timedelta(hours=1)
        documents.insert_many([{"idempotency": {"key": f"spent {n}", "expires_at": expires_at}} for n in some])
        documents.insert_many([{"outbox": []} for _ in some])
    expires_at = now + timedelta(hours=1)
    documents.insert_many([{"idempotency": {"key": f"good {n}", "expires_at": expires_at}} for n in range(KEPT)])


JOBS = ("expire_bids", "expire_topups", "resume_payments", "relay_outbox", "purge_expired", "purge_notifications")


def test_a_job_whose_time_is_up_begins_nothing_and_does_its_work_the_next_time(stores: Stores) -> None:
    market = Market.opened(stores)
    market.bid()
    order_id = market.order("completed")
    left_to_the_queue(lambda: market.ada.call("pay_order", key="k", order_id=order_id))
    unsent(lambda: market.ada.call("top_up", {"amount": 7}, key="k"))
    receive_all("payments")
    let_time_pass(stores, 60 * 24 * 100)
    stores.rows("itlc_orders", "UPDATE bidding SET created_at = now() - interval '1 year'")
    stores.rows("itlc_orders", "UPDATE notifications SET read_status = true")
    for job in JOBS:
        assert not any(operation(job)({}, NoTime()).values()), job
    for job in JOBS:
        assert any(operation(job)({}, Context()).values()), job


def test_a_job_has_to_stop_well_before_its_function_is_stopped() -> None:
    seconds: list[float] = []
    job = Operation("a_job")

    @job.scheduled
    def run(deadline: Deadline) -> dict[str, int]:
        seconds.append(deadline.at - time.monotonic())
        return {}

    job({}, Context())  # which has ten seconds
    assert 5 < seconds[0] < 8


@pytest.mark.timeout(3600)
def test_a_great_many_spent_rows_go_in_runs_that_end_in_time(stores: Stores) -> None:
    for database, statements in FILL.items():
        for statement in statements:
            stores.rows(database, statement, **({} if statement == "ANALYZE" else {"rows": ROWS, "kept": KEPT}))
    fill_bookkeeping(stores)
    assert not any(operation("purge_notifications")({}, NoTime()).values())
    runs = {"purge_notifications": 0, "purge_expired": 0}
    tracemalloc.start()
    try:
        for name in runs:
            while any((ended := operation(name)({}, Context())).values()):
                assert not ended.get("failed"), ended
                runs[name] += 1
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MOST_BYTES
    assert not FULL or min(runs.values()) > 1, "nothing was cut off to go on the next time"
    assert {
        table: stores.rows("itlc_orders", f"SELECT count(*) AS rows FROM {table}")[0]["rows"] for table in LEFT
    } == LEFT
    assert stores.mongo["itlc_pbfr"]["bookkeeping"].count_documents({}) == KEPT
