"""The ledger: tokens move here, and only here. Database `itlc_users`.

A transfer's id is derived from its cause, so it is made once however often it is asked for. The users on its two sides
are locked in the order of their ids, and their balances change in its transaction.
"""

from typing import Any

from sqlalchemy import Connection, Row

from itlc import audit
from itlc.errors import InsufficientTokens, NotFound
from itlc.events import request_id
from itlc.wallet import repository
from itlc.wallet.model import FORFEIT, MAX_TOKENS, BalanceFull, EscrowNotHeld, Move, account_of


def transfer(db: Connection, *moves: Move) -> list[Row[Any]]:
    """Make these transfers, all or (by raising) none; returns their rows, with the balances after each.

    What was made before for the same cause is not made again: its row is returned as it is.
    Raises InsufficientTokens when a user has too few, BalanceFull when one would have more than `MAX_TOKENS`,
    EscrowNotHeld when an escrow is to give what it did not get, NotFound for a user who never was.
    """
    holders = repository.holders_for_change(db, {user_id for move in moves for user_id in move.user_ids})
    balances = {user_id: int(row.tokens) for user_id, row in holders.items()}
    made = repository.transfers_made(db, [move.id for move in moves])  # after locking: who came first has committed
    held = repository.held_in(db, [move.debit.name for move in moves if move.debit.is_escrow])
    new = []
    for move in moves:
        if move.id not in made:
            made[move.id] = _make(db, move, balances, held)
            new.append(move)
    repository.note_escrows(
        db,
        filled=[_filled(move) for move in new if move.credit.is_escrow],
        emptied=[move.debit.name for move in new if move.debit.is_escrow],
    )
    for user_id, tokens in balances.items():
        if tokens != holders[user_id].tokens:
            repository.set_balance(db, user_id, tokens)
    return [made[move.id] for move in moves]


def _filled(move: Move) -> dict[str, Any]:
    return {
        "account": move.credit.name,
        "tokens": move.tokens,
        "payer_id": move.debit.user_id,
        "payee_id": move.on_behalf_of,
    }


def already_made(db: Connection, *moves: Move) -> bool:
    """Whether these transfers, which are made all at once, were made before."""
    return bool(moves) and moves[0].id in repository.transfers_made(db, [moves[0].id])


def _make(db: Connection, move: Move, balances: dict[int, int], held: dict[str, int]) -> Row[Any]:
    if missing := move.user_ids - balances.keys():
        raise NotFound(f"There is no user {min(missing)}.")
    if move.debit.is_escrow and held.get(move.debit.name) != move.tokens:
        raise EscrowNotHeld(f"{move.debit.name} holds {held.get(move.debit.name, 0)} tokens, not {move.tokens}.")
    debit, credit = move.debit.user_id, move.credit.user_id
    if debit is not None:
        if balances[debit] < move.tokens:
            raise InsufficientTokens(f"{move.tokens} tokens are needed; the balance is {balances[debit]}.")
        balances[debit] -= move.tokens
    if credit is not None:
        if balances[credit] + move.tokens > MAX_TOKENS:
            raise BalanceFull(f"The balance would pass {MAX_TOKENS:,} tokens.")
        balances[credit] += move.tokens
    return repository.add_transfer(
        db,
        id=move.id,
        kind=move.kind,
        debit_account=move.debit.name,
        credit_account=move.credit.name,
        tokens=move.tokens,
        debit_user_id=debit,
        debit_balance=None if debit is None else balances[debit],
        credit_user_id=credit,
        credit_balance=None if credit is None else balances[credit],
        order_id=move.order_id,
        topup_id=move.topup_id,
        request_id=request_id.get(),
    )


def forfeit(db: Connection, user_id: int) -> int:
    """Take all that a user has who is being erased; returns how many tokens. For the transaction that erases them."""
    holders = repository.holders_for_change(db, [user_id])
    tokens = int(holders[user_id].tokens) if user_id in holders else 0
    if tokens:
        transfer(db, Move(f"forfeit:{user_id}", "forfeit", account_of(user_id), FORFEIT, tokens))
        audit.record(db, user_id, "forfeit", f"user:{user_id}", before={"tokens": tokens}, after={"tokens": 0})
    return tokens
