"""The guards are there, and they are watched: without any one of them, a proof fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults import proofs
from tests.faults.mutants import Mutant, mutated
from tests.faults.proofs import dies_anywhere
from tests.support.stack import Stores

MUTANTS = (
    Mutant(
        "an event is sent and not written down",
        "itlc.stores.outbox:emit",
        """    handle.execute(
        insert(table).values(**row, claimed_until=func.now() + CLAIM).on_conflict_do_nothing(index_elements=["id"])
    )
""",
        "",
        dies_anywhere("reject_a_bid"),
    ),
    Mutant(
        "an event of a new document is sent and not written down",
        "itlc.stores.mongo:DocumentWriter.create",
        'stored["outbox"] = [outbox_entry(event) for event in emit]',
        "pass",
        dies_anywhere("review_a_service"),
    ),
    Mutant(
        "an event of the graph is sent and not written down",
        "itlc.stores.neo4j:GraphTransaction.emit",
        '"CREATE (:Outbox {id: $id, event: $event, user_ids: $user_ids, emails: $emails, created_at: datetime(), "\n'
        '            "claimed_until: datetime() + duration({seconds: $claim})})"',
        '"RETURN $id, $event, $user_ids, $emails, $claim"',
        dies_anywhere("complete_a_step"),
    ),
    Mutant(
        "an event is sent before its transaction commits",
        "itlc.stores.postgres:Database._commit",
        "committing = True",
        "committing = True; events.send_now(emitted, lambda ids: None)",
        dies_anywhere("reject_a_bid"),
    ),
    Mutant(
        "an event is marked as sent before it is",
        "itlc.events:send_now",
        "if sent := send(events):",
        "if published({event.id for event in events}) or (sent := send(events)):",
        dies_anywhere("reject_a_bid"),
    ),
    Mutant(
        "nothing sweeps the outboxes",
        "itlc.system.relay:_postgres",
        "sent = events.send(claimed)",
        "sent = set()",
        proofs.what_could_not_be_sent_is_swept_up,
    ),
    Mutant(
        "the inbox remembers nothing",
        "itlc.stores.inbox:first_time",
        "if handle.execute(row).rowcount == 1:",
        "if handle.execute(row):",
        proofs.a_message_that_comes_twice_takes_effect_once,
    ),
    Mutant(
        "a message is acknowledged before it is applied",
        "itlc.operation:Operation._consume",
        'failures.append({"itemIdentifier": record["messageId"]})',
        "pass",
        proofs.a_message_whose_store_is_away_comes_again,
    ),
    Mutant(
        "poison is tried for ever",
        "itlc.operation:Operation._apply",
        "events.bury(queue, body, poison.reason)",
        "raise",
        proofs.poison_is_buried_and_the_rest_goes_on,
    ),
    Mutant(
        "a project follows whatever comes last",
        "itlc.projects.repository:follow",
        ', "status_version": {"$lt": progress.version}',
        "",
        proofs.a_later_version_wins,
    ),
    Mutant(
        "a rating follows whatever comes last",
        "itlc.catalog.ratings:project",
        "known.version >= rated.version",
        "False",
        proofs.a_later_version_wins,
    ),
    Mutant(
        "nobody locks the key",
        "itlc.stores.keys:PostgresKeys.claim",
        "if not handle.execute(lock).scalar_one():",
        "if False:",
        proofs.a_key_that_is_worked_on_is_refused,
    ),
    Mutant(
        "that a request is still running is kept as its answer",
        "itlc.operation:Operation._once",
        """        except (Passing, KeyReused):
            raise
""",
        "",
        proofs.a_key_that_is_worked_on_is_refused,
    ),
    Mutant(
        "nobody locks the order that is paid",
        "itlc.orders.repository:order_for_change",
        ".with_for_update(key_share=True)",
        "",
        proofs.an_order_is_paid_once_whoever_asks,
    ),
    Mutant(
        "nobody locks the bid that is taken",
        "itlc.bids.repository:bid_for_change",
        ".with_for_update(key_share=True)",
        "",
        proofs.a_bid_is_taken_once,
    ),
    Mutant(
        "nobody locks the bids that expire",
        "itlc.bids.repository:expire",
        ".with_for_update(key_share=True, skip_locked=True)",
        "",
        proofs.a_bid_that_is_just_answered_does_not_expire,
    ),
    Mutant(
        "nobody locks the orders of an account that is closed",
        "itlc.orders.repository:orders_of_party_for_change",
        ".with_for_update(key_share=True)",
        "",
        proofs.an_order_that_is_just_paid_is_not_waived,
    ),
    Mutant(
        "nobody locks the balances",
        "itlc.wallet.repository:holders_for_change",
        ".with_for_update(key_share=True)",
        "",
        proofs.two_pay_from_one_balance,
    ),
    Mutant(
        "nobody looks at the balance",
        "itlc.wallet.model:why_not",
        "holders[payer_id].tokens < sum(incoming.values())",
        "False",
        proofs.who_has_too_few_tokens_pays_nothing,
    ),
    Mutant(
        "a transfer is made again for the same cause",
        "itlc.wallet.ledger:transfer",
        "if move.id not in made:",
        "if True:",
        proofs.a_cause_moves_tokens_once,
    ),
    Mutant(
        "more is given back than was paid",
        "itlc.wallet.refunds:_begin",
        "if asked > left:",
        "if False:",
        proofs.no_more_is_given_back_than_was_paid,
    ),
    Mutant(
        "two refunds are under way at once",
        "itlc.wallet.refunds:_begin",
        "if repository.refund_under_way(db, row.id):",
        "if False:",
        proofs.no_more_is_given_back_than_was_paid,
    ),
    Mutant(
        "a top-up that expired is credited later",
        "itlc.wallet.topups:close",
        "if not inbox.first_time(db, CONSUMER, asked):",
        "if False:",
        proofs.a_top_up_that_expired_is_not_credited,
    ),
    Mutant(
        "a message is believed that says the same as one which was refused",
        "itlc.wallet.saga:Cause.confirm",
        "if _identity(made) != _identity(event):",
        "if False:",
        proofs.what_has_expired_is_not_begun_by_another_message_that_says_the_same,
    ),
    Mutant(
        "tokens leave the escrow of a payment that is under way",
        "itlc.wallet.payments:_release_again",
        'asked.payment_id, "settled")',
        'asked.payment_id, "settled", "paying")',
        proofs.nothing_is_released_before_the_payment_is_settled,
    ),
    Mutant(
        "the answer is not kept with the effect",
        "itlc.wallet.payments:pivot",
        "keep_answer(db, payment, created(_settled(payment, told)))",
        "pass",
        dies_anywhere("pay_by_the_queue_alone", "pay_an_order"),
    ),
    Mutant(
        "what follows from a step is forgotten",
        "itlc.wallet.saga:Step.take",
        "outbox.emit(db, one)",
        "pass",
        dies_anywhere("pay_by_the_queue_alone"),
    ),
)
"""Each with the proof that notices it."""

PROOFS = [mutant.noticed_by for mutant in MUTANTS if not isinstance(mutant.noticed_by, type(dies_anywhere()))]


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
@pytest.mark.timeout(600)
def test_a_break_is_noticed(mutant: Mutant, all_stores: Stores) -> None:
    with mutated(mutant), pytest.raises(AssertionError):
        mutant.noticed_by(all_stores)


@pytest.mark.parametrize("proof", dict.fromkeys(PROOFS), ids=lambda proof: proof.__name__)
def test_with_the_code_whole_it_holds(proof: object, all_stores: Stores) -> None:
    assert callable(proof)
    proof(all_stores)


@contextmanager
def without_index(stores: Stores, index: str) -> Iterator[None]:
    """Run a block on an `itlc_orders` that lacks a unique index."""
    (row,) = stores.rows("itlc_orders", "SELECT indexdef FROM pg_indexes WHERE indexname = :index", index=index)
    stores.rows("itlc_orders", f"DROP INDEX {index}")
    try:
        yield
    finally:
        stores.empty()
        stores.rows("itlc_orders", row["indexdef"])


def test_an_order_that_may_have_two_payments_is_noticed(all_stores: Stores) -> None:
    proofs.an_order_has_one_payment(all_stores)
    with without_index(all_stores, "payment_orders_once"), pytest.raises(pytest.fail.Exception):
        proofs.an_order_has_one_payment(all_stores)
