"""What must be true of tokens: in the ledger, and between the ledger and what was paid, refunded and topped up.

The queries read the tables as they are, not through the domains that write them: a mistake there must not hide itself.
Money is never repaired here.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from itlc.stores import postgres
from itlc.system.findings import Tally, batches, side_by_side
from itlc.system.snapshots import Snapshots

BATCH = 1_000

# Both sides of each transfer, as what it adds to an account.
SIDES = """(
    SELECT credit_account AS account, credit_user_id AS user_id, tokens::bigint AS tokens FROM transfers
    UNION ALL
    SELECT debit_account, debit_user_id, -tokens::bigint FROM transfers
)"""

COUNT_USERS = "SELECT count(*) FROM users"
WRONG_BALANCES = f"""
    SELECT 'user:' || coalesce(u.id, moved.user_id) AS name
    FROM users u
    FULL JOIN (
        SELECT user_id, sum(tokens) AS tokens FROM {SIDES} sides WHERE user_id IS NOT NULL GROUP BY user_id
    ) moved ON moved.user_id = u.id
    WHERE coalesce(u.tokens, 0) <> coalesce(moved.tokens, 0)
    ORDER BY coalesce(u.id, moved.user_id)
"""  # noqa: S608 - of constants
# Each side shows what its user had afterwards: what they had before, which begins at nothing, and what came or went. So
# the last one is the sum of all, with which `users` is compared above.
WRONG_RUNNING_BALANCES = """
    SELECT 'transfer:' || id AS name FROM (
        SELECT id, sequence, balance, tokens + coalesce(lag(balance) OVER (PARTITION BY user_id ORDER BY sequence), 0)
            AS expected
        FROM (
            SELECT credit_user_id AS user_id, sequence, id, tokens::bigint AS tokens, credit_balance AS balance
            FROM transfers WHERE credit_user_id IS NOT NULL
            UNION ALL
            SELECT debit_user_id, sequence, id, -tokens::bigint, debit_balance
            FROM transfers WHERE debit_user_id IS NOT NULL
        ) sides
    ) running
    WHERE balance IS DISTINCT FROM expected GROUP BY id, sequence ORDER BY sequence
"""
NEGATIVE_BALANCES = f"""
    SELECT 'user:' || id AS name FROM users WHERE tokens < 0
    UNION ALL
    SELECT 'transfer:' || id FROM transfers WHERE debit_balance < 0 OR credit_balance < 0
    UNION ALL
    SELECT 'account:' || account FROM {SIDES} sides
    WHERE user_id IS NULL AND account <> 'house:topups' GROUP BY account HAVING sum(tokens) < 0
"""  # noqa: S608 - of constants
COUNT_TRANSFERS = "SELECT count(*) FROM transfers"
WHERE_TOKENS_ARE = f"""
    SELECT
        (SELECT coalesce(sum(tokens), 0) FROM users) AS balances,
        coalesce(sum(tokens) FILTER (WHERE account LIKE 'escrow:%'), 0) AS escrow,
        coalesce(sum(tokens) FILTER (WHERE account = 'house:forfeit'), 0) AS forfeited,
        coalesce(-sum(tokens) FILTER (WHERE account = 'house:topups'), 0) AS credited
    FROM {SIDES} sides
"""  # noqa: S608 - of constants

# Every transfer that there can be: by its kind, from whom to whom (nobody forfeits tokens who is not erased); and an
# account is a user's exactly when it says so, and an escrow of the order that the transfer says it is about.
WRONG_TRANSFERS = """
    SELECT 'transfer:' || id AS name FROM transfers
    WHERE NOT CASE kind
            WHEN 'topup' THEN debit_account = 'house:topups' AND credit_user_id IS NOT NULL
            WHEN 'payment' THEN (debit_user_id IS NOT NULL AND credit_account LIKE 'escrow:%')
                OR (debit_account LIKE 'escrow:%' AND credit_user_id IS NOT NULL)
            WHEN 'refund' THEN debit_user_id IS NOT NULL AND credit_user_id IS NOT NULL
            WHEN 'forfeit' THEN credit_account = 'house:forfeit'
                AND (debit_account LIKE 'escrow:%'
                    OR EXISTS (SELECT FROM users u WHERE u.id = debit_user_id AND u.erased_at IS NOT NULL))
            ELSE false
        END
        OR CASE WHEN debit_user_id IS NULL THEN debit_account LIKE 'user:%'
            ELSE debit_account <> 'user:' || debit_user_id END
        OR CASE WHEN credit_user_id IS NULL THEN credit_account LIKE 'user:%'
            ELSE credit_account <> 'user:' || credit_user_id END
        OR (debit_account LIKE 'escrow:%' AND order_id::text IS DISTINCT FROM split_part(debit_account, ':', 3))
        OR (credit_account LIKE 'escrow:%' AND order_id::text IS DISTINCT FROM split_part(credit_account, ':', 3))
    ORDER BY sequence
"""


def check_balances(stores: Snapshots, tally: Tally) -> None:
    """Compare each balance with the sum of the user's transfers, and what each transfer left with the one before."""
    ledger = stores.of(postgres.users)
    tally.look(ledger.number(COUNT_USERS) + ledger.number(COUNT_TRANSFERS))
    for row in chain(ledger.rows(WRONG_BALANCES), ledger.rows(WRONG_RUNNING_BALANCES)):
        tally.report(row.name)


def check_not_negative(stores: Snapshots, tally: Tally) -> None:
    """Look for users, escrows and houses with less than nothing, now or after any transfer."""
    ledger = stores.of(postgres.users)
    tally.look(ledger.number(COUNT_USERS) + ledger.number(COUNT_TRANSFERS))
    for row in ledger.rows(NEGATIVE_BALANCES):
        tally.report(row.name)


def check_conservation(stores: Snapshots, tally: Tally) -> None:
    """Look for transfers that are of no known shape, then add up where all tokens are, and compare it with what was
    ever credited."""
    ledger = stores.of(postgres.users)
    tally.look(ledger.number(COUNT_TRANSFERS))
    (row,) = ledger.rows(WHERE_TOKENS_ARE)
    for wrong in ledger.rows(WRONG_TRANSFERS):
        tally.report(wrong.name)
    if row.balances + row.escrow + row.forfeited != row.credited:
        tally.report("ledger")
        tally.remark = (
            f"{row.balances} in balances, {row.escrow} in escrow and {row.forfeited} forfeited are not the "
            f"{row.credited} that were credited"
        )


# Top-ups: `itlc_tokens` and the ledger

# Both databases sum up each thousand of top-ups that is as it should be in one digest. Where the two are the same there
# is nothing to see; the rows of the others are compared one by one.
DIGESTS_OF_TOPUPS = """
    SELECT id / 1000 AS part, count(*) AS rows,
        md5(string_agg(concat_ws(':', id, user_id, trim_scale(amount)), ',' ORDER BY id)
            FILTER (WHERE status = 'completed')) AS digest
    FROM token_topups GROUP BY id / 1000 ORDER BY id / 1000
"""
DIGESTS_OF_CREDITS = """
    SELECT coalesce(topup_id, 0) / 1000 AS part, count(*) AS rows,
        md5(string_agg(
            concat_ws(':', coalesce(topup_id, 0), coalesce(credit_user_id, 0), tokens)
                || CASE WHEN kind = 'topup' AND debit_account = 'house:topups' THEN '' ELSE ' of another kind' END,
            ',' ORDER BY topup_id
        )) AS digest
    FROM transfers WHERE topup_id IS NOT NULL OR kind = 'topup' OR debit_account = 'house:topups'
    GROUP BY coalesce(topup_id, 0) / 1000 ORDER BY coalesce(topup_id, 0) / 1000
"""
TOPUPS = """
    SELECT id, user_id, amount, status FROM token_topups
    WHERE id / 1000 = ANY(CAST(:parts AS integer[])) ORDER BY id
"""
CREDITS = """
    SELECT coalesce(topup_id, 0) AS topup_id, id, kind, debit_account, credit_user_id, tokens,
        created_at > CAST(:since AS timestamptz) AS young, created_at > now() - interval '15 minutes' AS recent
    FROM transfers
    WHERE (topup_id IS NOT NULL OR kind = 'topup' OR debit_account = 'house:topups')
        AND coalesce(topup_id, 0) / 1000 = ANY(CAST(:parts AS integer[]))
    ORDER BY coalesce(topup_id, 0)
"""


def check_topups(stores: Snapshots, tally: Tally) -> None:
    """Compare each top-up with its transfer."""
    tokens, ledger = stores.of(postgres.tokens), stores.of(postgres.users)
    parts = _different(tokens.rows(DIGESTS_OF_TOPUPS), ledger.rows(DIGESTS_OF_CREDITS), tally)
    topups, credits = tokens.rows(TOPUPS, parts=parts), ledger.rows(CREDITS, parts=parts, since=tokens.unseen_since)
    for asked, credited in side_by_side(topups, credits, lambda row: row.id, lambda row: row.topup_id):
        for name in wrong_topups(asked[0] if asked else None, credited):
            tally.report(name)


def _different(left: Iterable[Any], right: Iterable[Any], tally: Tally) -> list[int]:
    """Which parts two databases sum up in different digests. The rows that were looked at are those of the left one,
    and of the right one where the left has none."""
    parts = []
    for one, other in side_by_side(left, right, lambda row: row.part, lambda row: row.part):
        tally.look((one or other)[0].rows)
        if (one[0].digest if one else None) != (other[0].digest if other else None):
            parts.append((one or other)[0].part)
    return parts


def wrong_topups(topup: Any | None, credits: Sequence[Any]) -> Iterator[str]:
    """The names of what is wrong about one top-up and the transfers that name it.

    One that is pending may have been credited in the last quarter of an hour. A transfer without a top-up may be of
    one that was made after the top-ups were read.
    """
    if topup is None:
        yield from (f"transfer:{credit.id}" for credit in credits if not credit.young)
        return
    right = len(credits) == 1 and (
        credits[0].kind == "topup"
        and credits[0].debit_account == "house:topups"
        and credits[0].credit_user_id == topup.user_id
        and credits[0].tokens == topup.amount
    )
    match topup.status:
        case "completed":
            holds = right
        case "pending":
            holds = not credits or (right and credits[0].recent)
        case _:
            holds = not credits
    if not holds:
        yield f"topup:{topup.id}"


# Orders and their payments: `itlc_orders`

COUNT_PAID = "SELECT count(*) FROM orders WHERE status IN ('paying', 'paid', 'refunded')"
WRONG_PAYMENTS = """
    WITH covering AS (
        SELECT po.order_id,
            count(*) FILTER (WHERE p.status = 'settled') AS settled,
            count(*) FILTER (WHERE p.status = 'paying') AS paying,
            bool_and(
                p.customer_id = o.user_id AND po.provider_user_id = o.provider_user_id
                AND po.tokens = round(o.amount * p.rate)
                AND (p.status <> 'settled' OR po.tokens IS NOT DISTINCT FROM o.tokens_charged)
            ) AS alike
        FROM payment_orders po JOIN payments p ON p.id = po.payment_id LEFT JOIN orders o ON o.id = po.order_id
        WHERE p.status <> 'declined' GROUP BY po.order_id
    )
    SELECT 'order:' || coalesce(o.id, c.order_id) AS name FROM orders o FULL JOIN covering c ON c.order_id = o.id
    WHERE coalesce(c.settled, 0) <> CASE WHEN o.status IN ('paid', 'refunded') THEN 1 ELSE 0 END
        OR coalesce(c.paying, 0) <> CASE WHEN o.status = 'paying' THEN 1 ELSE 0 END
        OR NOT coalesce(c.alike, true)
    UNION ALL
    SELECT 'payment:' || p.id FROM payments p
    LEFT JOIN (SELECT payment_id, sum(tokens) AS tokens FROM payment_orders GROUP BY payment_id) shares
        ON shares.payment_id = p.id
    WHERE p.tokens <> coalesce(shares.tokens, 0)
"""


def check_payments(stores: Snapshots, tally: Tally) -> None:
    """Compare each order with the payments that cover it."""
    orders = stores.of(postgres.orders)
    tally.look(orders.number(COUNT_PAID))
    for row in orders.rows(WRONG_PAYMENTS):
        tally.report(row.name)


# Refunds: `itlc_orders` and the ledger

REFUNDED = """
    SELECT o.id, o.user_id, o.provider_user_id, o.status, o.amount, coalesce(o.tokens_charged, 0) AS charged,
        o.refunded_amount, o.refunded_tokens,
        coalesce(sum(r.tokens) FILTER (WHERE r.status = 'settled'), 0) AS settled_tokens,
        coalesce(sum(r.amount) FILTER (WHERE r.status = 'settled'), 0) AS settled_amount,
        coalesce(sum(r.tokens) FILTER (WHERE r.status = 'refunding'), 0) AS open_tokens
    FROM orders o LEFT JOIN refunds r ON r.order_id = o.id
    WHERE r.id IS NOT NULL OR o.refunded_amount > 0 OR o.refunded_tokens > 0 OR o.status = 'refunded'
    GROUP BY o.id ORDER BY o.id
"""
GIVEN_BACK = """
    SELECT order_id, sum(tokens) AS tokens,
        min(debit_user_id) AS payer_id, max(debit_user_id) AS last_payer_id,
        min(credit_user_id) AS payee_id, max(credit_user_id) AS last_payee_id,
        max(created_at) > CAST(:since AS timestamptz) AS young
    FROM transfers WHERE kind = 'refund' AND order_id IS NOT NULL GROUP BY order_id ORDER BY order_id
"""
REFUNDS_OF_NOTHING = """
    SELECT 'transfer:' || id AS name FROM transfers WHERE kind = 'refund' AND order_id IS NULL ORDER BY sequence
"""


def check_refunds(stores: Snapshots, tally: Tally) -> None:
    """Compare what each order shows as given back with its refunds, its payment and the ledger."""
    orders, ledger = stores.of(postgres.orders), stores.of(postgres.users)
    refunded, given_back = orders.rows(REFUNDED), ledger.rows(GIVEN_BACK, since=orders.unseen_since)
    for shown, moved in side_by_side(refunded, given_back, lambda row: row.id, lambda row: row.order_id):
        tally.look()
        if wrong_refund(shown[0] if shown else None, moved[0] if moved else None):
            tally.report(f"order:{shown[0].id if shown else moved[0].order_id}")
    for row in ledger.rows(REFUNDS_OF_NOTHING):
        tally.look()
        tally.report(row.name)


def wrong_refund(order: Any | None, moved: Any | None) -> bool:
    """Whether an order's refunds are not what the order shows, more than was paid, or not what the ledger moved.

    The ledger may be ahead: by the refund under way, or by one that was begun after the orders were read.
    """
    if order is None:
        return moved is not None and not moved.young
    if (order.refunded_tokens, order.refunded_amount) != (order.settled_tokens, order.settled_amount):
        return True
    if order.refunded_tokens > order.charged or order.refunded_amount > order.amount:
        return True
    if (order.status == "refunded") != (order.refunded_amount == order.amount):
        return True
    if moved is None:
        return bool(order.settled_tokens > 0)
    parties = {(moved.payer_id, moved.payee_id), (moved.last_payer_id, moved.last_payee_id)}
    if parties != {(order.provider_user_id, order.user_id)}:
        return True
    if moved.tokens in (order.settled_tokens, order.settled_tokens + order.open_tokens):
        return False
    return not (moved.tokens > order.settled_tokens and moved.young)


# Escrows: `itlc_orders` and the ledger

PART = """
    CASE WHEN account ~ '^escrow:[0-9a-f-]{36}:[0-9]{1,9}$' THEN split_part(account, ':', 3)::integer / 1000 ELSE -1 END
"""
# As with top-ups: a thousand orders, settled and released, in one digest.
DIGESTS_OF_SHARES = """
    SELECT order_id / 1000 AS part, count(*) AS rows,
        md5(string_agg(concat(account, ' ', customer_id, ' ', provider_user_id, ' ', tokens), ',' ORDER BY account)
            FILTER (WHERE status = 'settled')) AS digest
    FROM (
        SELECT po.order_id, ('escrow:' || p.id || ':' || po.order_id) COLLATE "C" AS account,
            p.status, p.customer_id, po.provider_user_id, po.tokens
        FROM payment_orders po JOIN payments p ON p.id = po.payment_id WHERE po.tokens > 0
    ) shares
    GROUP BY order_id / 1000 ORDER BY order_id / 1000
"""
DIGESTS_OF_ESCROWS = f"""
    SELECT {PART} AS part, count(*) AS rows,
        md5(string_agg(concat(account, ' ', payer_id, ' ', payee_id, ' ', tokens_in,
            CASE WHEN tokens_in = tokens_out THEN '' ELSE ' of ' || tokens_out END), ',' ORDER BY account)) AS digest
    FROM (
        SELECT coalesce(filled.credit_account, emptied.debit_account) COLLATE "C" AS account,
            filled.debit_user_id AS payer_id, emptied.credit_user_id AS payee_id,
            filled.tokens AS tokens_in, emptied.tokens AS tokens_out
        FROM (SELECT * FROM transfers WHERE credit_account LIKE 'escrow:%') filled
        FULL JOIN (SELECT * FROM transfers WHERE debit_account LIKE 'escrow:%') emptied
            ON emptied.debit_account = filled.credit_account
    ) escrows
    GROUP BY {PART} ORDER BY {PART}
"""  # noqa: S608 - of constants
SHARES = """
    SELECT 'escrow:' || p.id || ':' || po.order_id AS account, p.status, p.customer_id, po.provider_user_id, po.tokens
    FROM payment_orders po JOIN payments p ON p.id = po.payment_id
    WHERE po.tokens > 0 AND po.order_id / 1000 = ANY(CAST(:parts AS integer[]))
    ORDER BY ('escrow:' || p.id || ':' || po.order_id) COLLATE "C"
"""
ESCROWS = f"""
    SELECT account, count(*) FILTER (WHERE tokens > 0) AS times_in, count(*) FILTER (WHERE tokens < 0) AS times_out,
        max(tokens) AS tokens, sum(tokens) AS held, max(payer_id) AS payer_id, max(payee_id) AS payee_id,
        coalesce(bool_or(counterpart = 'house:forfeit'), false) AS forfeited,
        max(created_at) > CAST(:since AS timestamptz) AS young
    FROM (
        SELECT credit_account AS account, debit_account AS counterpart, tokens, debit_user_id AS payer_id,
            NULL::integer AS payee_id, created_at
        FROM transfers WHERE credit_account LIKE 'escrow:%'
        UNION ALL
        SELECT debit_account, credit_account, -tokens, NULL, credit_user_id, created_at
        FROM transfers WHERE debit_account LIKE 'escrow:%'
    ) sides
    WHERE {PART} = ANY(CAST(:parts AS integer[]))
    GROUP BY account ORDER BY account COLLATE "C"
"""  # noqa: S608 - of constants
ERASED_AMONG = "SELECT id FROM users WHERE id = ANY(CAST(:ids AS integer[])) AND erased_at IS NOT NULL"
COUNT_ESCROWS = "SELECT count(*) FROM transfers WHERE credit_account LIKE 'escrow:%'"
OLD_ESCROWS = """
    SELECT filled.credit_account AS name FROM transfers filled
    WHERE filled.credit_account LIKE 'escrow:%' AND filled.created_at < now() - interval '15 minutes'
        AND NOT EXISTS (SELECT FROM transfers emptied WHERE emptied.debit_account = filled.credit_account)
    ORDER BY filled.sequence
"""
# The note and the transfer of which it tells commit together.
NOTED_IN_VAIN = """
    SELECT noted.account AS name FROM full_escrows noted
    WHERE NOT EXISTS (SELECT FROM transfers filled WHERE filled.credit_account = noted.account)
        OR EXISTS (SELECT FROM transfers emptied WHERE emptied.debit_account = noted.account)
    ORDER BY noted.account
"""
COUNT_UNDER_WAY = """
    SELECT (SELECT count(*) FROM payments WHERE status = 'paying')
        + (SELECT count(*) FROM refunds WHERE status = 'refunding')
"""
LONG_UNDER_WAY = """
    SELECT 'payment:' || id AS name FROM payments
    WHERE status = 'paying' AND created_at < now() - interval '15 minutes'
    UNION ALL
    SELECT 'refund:' || id FROM refunds WHERE status = 'refunding' AND created_at < now() - interval '15 minutes'
"""


def check_escrows(stores: Snapshots, tally: Tally) -> None:
    """Compare each escrow with the order's share of the payment that it is for."""
    orders, ledger = stores.of(postgres.orders), stores.of(postgres.users)
    parts = _different(orders.rows(DIGESTS_OF_SHARES), ledger.rows(DIGESTS_OF_ESCROWS), tally)
    shares, escrows = orders.rows(SHARES, parts=parts), ledger.rows(ESCROWS, parts=parts, since=orders.unseen_since)
    pairs = side_by_side(shares, escrows, lambda row: row.account, lambda row: row.account)
    for batch in batches(pairs, BATCH):
        parties = {
            user_id
            for share, escrow in batch
            if share and escrow and escrow[0].forfeited
            for user_id in (share[0].customer_id, share[0].provider_user_id)
        }
        erased = {row.id for row in ledger.rows(ERASED_AMONG, ids=sorted(parties))} if parties else set()
        for share, escrow in batch:
            if wrong_escrow(share[0] if share else None, escrow[0] if escrow else None, erased):
                tally.report((share or escrow)[0].account)


def wrong_escrow(share: Any | None, escrow: Any | None, erased: Collection[int] = ()) -> bool:
    """Whether an escrow was filled or emptied other than the payment's share of an order says: once from the customer,
    then once to the provider's user where it is settled, back where it is declined; to the house in place of one of
    them who is among the `erased`.

    One that is still full is no matter of this invariant. The ledger may be ahead of a payment that is being made.
    """
    if escrow is None:
        return share is not None and share.status == "settled"
    if share is None:
        return not escrow.young
    if escrow.times_in != 1 or escrow.times_out > 1:
        return True
    if (escrow.tokens, escrow.payer_id) != (share.tokens, share.customer_id):
        return True
    if escrow.times_out == 0:
        return False
    if escrow.held != 0:
        return True
    owed = {"settled": {share.provider_user_id}, "declined": {share.customer_id}}.get(
        share.status, {share.provider_user_id, share.customer_id}
    )
    if share.status == "paying" and not escrow.young:
        return True
    return owed.isdisjoint(erased) if escrow.forfeited else escrow.payee_id not in owed


def check_old_escrows(stores: Snapshots, tally: Tally) -> None:
    """Look for escrows that were filled a quarter of an hour ago and are not empty yet, for such that are noted as full
    and are not, and for payments and refunds that were begun a quarter of an hour ago and have not ended."""
    orders, ledger = stores.of(postgres.orders), stores.of(postgres.users)
    tally.look(ledger.number(COUNT_ESCROWS) + orders.number(COUNT_UNDER_WAY))
    for row in chain(ledger.rows(OLD_ESCROWS), ledger.rows(NOTED_IN_VAIN), orders.rows(LONG_UNDER_WAY)):
        tally.report(row.name)
