"""Whether all stores agree: each invariant is checked on what they hold, and whatever breaks it is named.

Each PostgreSQL database is read in one read-only snapshot, whole tables by aggregates that the server makes, two
databases by sorted streams that are walked side by side, so that memory does not grow with the rows. Where nearly
everything agrees, what is streamed are digests of a thousand rows each, and then the rows of those that differ. What
one database says of itself is never in flight, for what belongs together commits together. Between two stores, the one
that says that something is done is read first (see `snapshots`); what is only there in the second may be on its way
only if it came after the first was read, or for as long as its invariant says.

Nothing is repaired, money least of all. Only events that wait in an outbox and that nobody holds are sent again, as the
relay does all the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from itlc import telemetry
from itlc.errors import StoreAway
from itlc.operation import Deadline
from itlc.system import messages, money, references
from itlc.system.findings import NotChecked, Reconciled, Tally
from itlc.system.relay import relay
from itlc.system.schemas import Finding
from itlc.system.snapshots import NO_TIME, Snapshots


@dataclass(frozen=True)
class Invariant:
    """Something that is always true: its name, what it says in one sentence, how it is checked."""

    name: str
    says: str
    check: Callable[[Snapshots, Tally], None]


OUTBOX = "outbox_is_sent_in_time"
INVARIANTS = (
    Invariant(
        "balance_is_sum_of_transfers",
        "A user's balance, now and after each transfer, is the sum of all transfers to and from them until then.",
        money.check_balances,
    ),
    Invariant(
        "no_balance_is_negative",
        "No user, no escrow and no forfeit account has or ever had less than nothing.",
        money.check_not_negative,
    ),
    Invariant(
        "tokens_are_conserved",
        "Balances, open escrow and forfeited tokens add up to the top-ups that were credited.",
        money.check_conservation,
    ),
    Invariant(
        "topup_is_one_transfer",
        "A top-up is completed if and only if one transfer credited its amount to its user.",
        money.check_topups,
    ),
    Invariant(
        "paid_order_has_one_payment",
        "An order is paid if and only if one settled payment covers it, with its parties and its amount.",
        money.check_payments,
    ),
    Invariant(
        "refunds_are_within_payment",
        "What was refunded of an order is what its refunds and the ledger say, and no more than was paid.",
        money.check_refunds,
    ),
    Invariant(
        "escrow_is_settled_once",
        "An escrow is filled once by the customer and emptied once: to the provider's user, or back.",
        money.check_escrows,
    ),
    Invariant(
        "escrow_is_settled_in_time",
        "No escrow holds tokens, and no payment or refund is under way, for longer than 15 minutes.",
        money.check_old_escrows,
    ),
    Invariant(
        OUTBOX,
        "No event waits in any of the seven outboxes for longer than 2 minutes.",
        messages.check_outboxes,
    ),
    Invariant(
        "sent_event_is_consumed",
        "An event that was sent, from whichever store, is consumed or a dead letter in 15 minutes, an erasure in 20.",
        messages.check_consumed,
    ),
    Invariant(
        "versions_have_no_gaps",
        "The versions of each thing that events tell of have no gap, from the first to the present one.",
        messages.check_versions,
    ),
    Invariant(
        "event_has_one_payload",
        "An event says in its store what it said to all who applied it: its id stands for one payload.",
        messages.check_payloads,
    ),
    Invariant(
        "finished_key_has_its_answer",
        "An idempotency key has its answer once what it began has ended, and what that says was created is there.",
        messages.check_keys,
    ),
    Invariant(
        "one_notification_per_event",
        "A notification says what one event says to one person, once.",
        messages.check_notifications,
    ),
    Invariant(
        "won_bid_has_its_order",
        "Every won bid has its order and every order its bid, with the same parties, service and amount.",
        references.check_bids,
    ),
    Invariant(
        "nothing_refers_to_erased",
        "Of a user who was erased over 15 minutes ago nothing is left that had to go, and no step is of an order that "
        "is not there.",
        references.check_erased,
    ),
    Invariant(
        "project_follows_its_orders",
        "A project's status, as its owner sees it, follows from its orders.",
        references.check_projects,
    ),
    Invariant(
        "service_rating_follows_ratings",
        "A service's rating counts each rating of its orders once, as it was last given, 15 minutes later at most.",
        references.check_ratings,
    ),
)


def reconcile(deadline: Deadline) -> Reconciled:
    """Check every invariant, as far as the stores that it needs can be reached and the time allows."""
    started_at = datetime.now(UTC)
    with Snapshots(deadline) as stores:
        findings = [check(invariant, stores) for invariant in INVARIANTS]
    findings = [_send_again(finding, deadline) for finding in findings]
    return Reconciled(started_at, datetime.now(UTC), tuple(findings))


def check(invariant: Invariant, stores: Snapshots) -> Finding:
    """What becomes of one invariant. Where it cannot be checked, the finding says why; the others go on."""
    tally = Tally()
    try:
        if stores.deadline.passed:
            raise NotChecked(NO_TIME)
        invariant.check(stores, tally)
    except Exception as error:
        stores.start_over()
        return _not_checked(invariant, _why_not(error, invariant, stores))
    return tally.finding(invariant.name, invariant.says)


def _why_not(error: Exception, invariant: Invariant, stores: Snapshots) -> str:
    match error:
        case StoreAway(store=store):
            stores.lose(store)
            return f"{store} is away"
        case NotChecked():
            return str(error)
    telemetry.logger("reconcile").exception("not checked", extra={"invariant": invariant.name})
    return f"the check failed, see the log: {type(error).__name__}"


def _not_checked(invariant: Invariant, reason: str) -> Finding:
    return Finding(
        name=invariant.name,
        says=invariant.says,
        state="not checked",
        looked_at=0,
        broken=0,
        rows=[],
        remark=reason,
    )


def _send_again(finding: Finding, deadline: Deadline) -> Finding:
    """Have what waits in the outboxes sent, where some of it has waited for too long."""
    if finding.name != OUTBOX or finding.state != "broken":
        return finding
    sent = relay(deadline)["sent"]
    return finding.model_copy(update={"remark": f"{sent} waiting events were sent again"})
