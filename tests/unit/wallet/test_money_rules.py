"""The rules of money, without any store."""

import uuid
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some
from itlc.errors import Conflict, InsufficientTokens
from itlc.fields import tokens_of
from itlc.wallet.model import (
    FORFEIT,
    MAX_TOKENS,
    Move,
    Reason,
    account_of,
    cause_id,
    escrow_of,
    failed_topup,
    refused_payment,
    refused_refund,
    tokens_to_give_back,
    why_not,
)

AMOUNTS = some.decimals(min_value="0.01", max_value="100000", places=2)
RATES = some.sampled_from([Decimal(1), Decimal("0.5"), Decimal("1.5"), Decimal("0.01"), Decimal(10)])


@dataclass(frozen=True)
class Somebody:
    """A holder."""

    tokens: int = 0
    erased_at: object | None = None


def test_the_same_cause_has_the_same_id_and_another_another() -> None:
    assert cause_id("topup:7") == cause_id("topup:7") != cause_id("topup:8")
    assert cause_id("topup:7").version == 5


def test_accounts_are_named_after_what_they_hold() -> None:
    payment_id = uuid.UUID(int=7)
    assert (account_of(12).name, account_of(12).user_id) == ("user:12", 12)
    assert escrow_of(payment_id, 3).name == f"escrow:{payment_id}:3"
    assert escrow_of(payment_id, 3).is_escrow
    assert not FORFEIT.is_escrow
    assert Move("x", "payment", account_of(1), escrow_of(payment_id, 3), 5).user_ids == {1}
    assert Move("x", "refund", account_of(1), account_of(2), 5).user_ids == {1, 2}
    assert len(escrow_of(payment_id, 2**31 - 1).name) <= 96


@pytest.mark.parametrize(
    ("payer", "payee", "tokens", "reason"),
    [
        (Somebody(100), Somebody(), 100, None),
        (Somebody(100), Somebody(), 101, "short"),
        (Somebody(100, "today"), Somebody(), 1, "payer_gone"),
        (None, Somebody(), 1, "payer_gone"),
        (Somebody(100), Somebody(0, "today"), 1, "payee_gone"),
        (Somebody(100), None, 1, "payee_gone"),
        (Somebody(100), Somebody(MAX_TOKENS - 1), 1, None),
        (Somebody(100), Somebody(MAX_TOKENS), 1, "payee_full"),
        (Somebody(0), Somebody(), 0, None),
    ],
)
def test_who_can_pay_whom(payer: Somebody | None, payee: Somebody | None, tokens: int, reason: Reason | None) -> None:
    holders = {number: one for number, one in ((1, payer), (2, payee)) if one is not None}
    assert why_not(holders, {2: tokens}, on_the_way={}, payer_id=1) == reason


def test_all_payees_together_must_be_paid() -> None:
    holders = {1: Somebody(100), 2: Somebody(), 3: Somebody()}
    assert why_not(holders, {2: 50, 3: 50}, on_the_way={}, payer_id=1) is None
    assert why_not(holders, {2: 50, 3: 51}, on_the_way={}, payer_id=1) == "short"


def test_the_house_can_always_pay() -> None:
    assert why_not({2: Somebody(5)}, {2: MAX_TOKENS - 5}, on_the_way={}) is None
    assert why_not({2: Somebody(5)}, {2: MAX_TOKENS - 4}, on_the_way={}) == "payee_full"


def test_there_must_be_room_for_what_is_on_the_way_too() -> None:
    assert why_not({2: Somebody(5)}, {2: MAX_TOKENS - 15}, on_the_way={2: 10, 3: 10}) is None
    assert why_not({2: Somebody(5)}, {2: MAX_TOKENS - 14}, on_the_way={2: 10}) == "payee_full"


@pytest.mark.parametrize("refused", [refused_payment, refused_refund])
def test_only_being_short_is_insufficient_tokens(refused: object) -> None:
    assert callable(refused)
    reasons: list[Reason] = ["short", "payer_gone", "payee_gone", "payee_full", "overtaken"]
    kinds = [type(refused(reason, 5, 3)) for reason in reasons]
    assert kinds == [InsufficientTokens, Conflict, Conflict, Conflict, Conflict]


def test_why_a_topup_failed_is_said() -> None:
    reasons: list[Reason] = ["payee_gone", "payee_full", "expired"]
    assert len({failed_topup(reason) for reason in reasons}) == 3


@given(parts=some.lists(AMOUNTS, min_size=1, max_size=12), rate=RATES)
def test_refunds_add_up_to_their_sum_rounded_once(parts: list[Decimal], rate: Decimal) -> None:
    """Where each part is accepted (which the operation does for those worth a token)."""
    charged = tokens_of(sum(parts, Decimal(0)), rate)
    amount, tokens = Decimal(0), 0
    for part in parts:
        back = tokens_to_give_back(part, refunded_amount=amount, refunded_tokens=tokens, charged=charged, rate=rate)
        assert back >= 0
        if back:
            amount, tokens = amount + part, tokens + back
            assert tokens == tokens_of(amount, rate)
    assert tokens <= charged


@given(amount=AMOUNTS, rate=RATES, cut=some.floats(0, 1))
def test_two_parts_give_back_all(amount: Decimal, rate: Decimal, cut: float) -> None:
    charged = tokens_of(amount, rate)
    first = (amount * Decimal(cut)).quantize(Decimal("0.01"))
    back = tokens_to_give_back(first, refunded_amount=Decimal(0), refunded_tokens=0, charged=charged, rate=rate)
    rest = tokens_to_give_back(amount - first, refunded_amount=first, refunded_tokens=back, charged=charged, rate=rate)
    assert back + rest == charged


def test_no_more_than_was_charged_is_given_back() -> None:
    given_back = tokens_to_give_back(
        Decimal(100), refunded_amount=Decimal(0), refunded_tokens=0, charged=100, rate=Decimal(2)
    )
    assert given_back == 100


def test_where_too_much_was_given_back_nothing_more_is() -> None:
    given_back = tokens_to_give_back(
        Decimal(1), refunded_amount=Decimal(1), refunded_tokens=9, charged=10, rate=Decimal(1)
    )
    assert given_back == 0
