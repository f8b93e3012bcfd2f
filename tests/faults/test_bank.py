"""A bank: many who pay each other, while the server is killed and frozen, and auditors who look all the time.

The server is a PostgreSQL of its own, which no other test shares. The tokens in it are always the same number, nobody
has less than nothing, and what was acknowledged is there, once.
"""

import json
import multiprocessing
import os
import random
import signal
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from itlc.errors import InsufficientTokens, StoreAway
from itlc.secrets import secret
from itlc.settings import settings
from itlc.stores import postgres
from itlc.wallet import ledger
from itlc.wallet.model import TOPUPS, Move, account_of
from sqlalchemy import text

from infra.local import process
from infra.local.migrate import migrate
from infra.local.process import ProcessId
from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints, Stack
from tests.faults.crew import Crew
from tests.faults.scale import FULL, scaled
from tests.support.market import member
from tests.support.money import ledger_holds
from tests.support.stack import Stores
from tests.support.waiting import eventually

ACCOUNTS = 50
OPENING = 100
"""What each has at first."""
CLIENTS = 16
AUDITORS = 2
ORDERS = scaled(full=24_000, share=640)
"""To pay somebody, or several at once; every fourth or so is refused, for want of tokens."""
TRANSFERS = scaled(full=20_000, share=0)
"""So many come of them, at least."""
KILLS = scaled(full=12, share=1)
FREEZES = scaled(full=12, share=1)
LONGEST = scaled(full=1800, share=200)
"""Seconds that all of it may take."""
RECOVERY = 30.0
"""Seconds after a fault within which transfers are acknowledged again."""

_fork = multiprocessing.get_context("fork")
acknowledged = _fork.Value("i", 0)
"""By all clients."""
gone_home = _fork.Value("i", 0)
"""How many clients have nothing more to send."""
closed = _fork.Event()
"""All of them."""

BALANCES = "SELECT id, tokens FROM users ORDER BY id"
SUMS = """
    SELECT user_id AS id, sum(tokens) AS tokens FROM (
        SELECT credit_user_id AS user_id, tokens FROM transfers UNION ALL SELECT debit_user_id, -tokens FROM transfers
    ) sides WHERE user_id IS NOT NULL GROUP BY user_id ORDER BY user_id
"""
BELOW_ZERO = "SELECT count(*) FROM transfers WHERE least(debit_balance, credit_balance) < 0"


@dataclass(frozen=True)
class Order:
    """Tokens that one customer sends to one or two others, all or none; `cause` makes it the same order each time."""

    cause: str
    payer: int
    payees: tuple[int, ...]
    tokens: int

    @property
    def moves(self) -> list[Move]:
        """What the ledger is asked for."""
        return [
            Move(f"{self.cause}:{number}", "refund", account_of(self.payer), account_of(payee), self.tokens)
            for number, payee in enumerate(self.payees)
        ]


@dataclass
class Bank:
    """The stack with the server, its customers' ids, and the faults so far."""

    stack: Stack
    endpoints: Endpoints
    customers: list[int]
    kills: int = 0
    freezes: int = 0

    def server(self) -> ProcessId:
        """The server's process."""
        pid = self.stack.endpoints().pids["postgres"]
        assert pid is not None
        return ProcessId(pid, psutil.Process(pid).create_time())

    def kill(self) -> None:
        """Kill the server, and bring it back."""
        os.kill(self.server().pid, signal.SIGKILL)
        self.stack.up(lambda _: None)
        self.kills += 1

    def freeze(self, seconds: float) -> None:
        """Stop the server and all its processes in the midst of what they do, and let them go on after so long."""
        server = self.server()
        stopped = [psutil.Process(server.pid), *process.session_of(server, mark=str(self.stack.state_dir))]
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        thawed = time.monotonic() + seconds
        eventually(lambda: time.monotonic() >= thawed, "the frost is over", within=seconds + 5)
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.resume()
        self.freezes += 1


@pytest.fixture
def bank(endpoints: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    """A server of its own beside the other stores, set as the one that this process and its workers use."""
    bolt = urllib.parse.urlsplit(endpoints.neo4j_uri)
    user, password = (urllib.parse.quote(part, safe="") for part in (endpoints.neo4j_user, endpoints.neo4j_password))
    monkeypatch.setenv("ITLC_NEO4J_URL", bolt._replace(netloc=f"{user}:{password}@{bolt.netloc}").geturl())
    monkeypatch.setenv("ITLC_MONGODB_URL", endpoints.mongodb_url)
    stack = Stack(tmp_path / "bank", durable=False)
    try:
        of_the_bank = stack.up(lambda _: None)
        migrate(of_the_bank, lambda _: None)
        _use(of_the_bank, monkeypatch)
        yield Bank(stack, of_the_bank, [_customer(number) for number in range(ACCOUNTS)])
    finally:
        stack.clean()
        monkeypatch.undo()
        _forget_connections()


def _use(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = aws_client(endpoints, "secretsmanager")
    for name in ("users", "orders", "tokens", "api"):
        database = postgres.catalog.name if name == "api" else f"itlc_{name}"
        value = json.dumps({"url": endpoints.postgres[database].app_url})
        arn = secrets.create_secret(Name=f"bank/{os.getpid()}/{name}", SecretString=value)["ARN"]
        monkeypatch.setenv(f"ITLC_SECRET_{name.upper()}", arn)
    _forget_connections()


def _forget_connections() -> None:
    settings.cache_clear()
    secret.cache_clear()
    for database in postgres.DATABASES:
        for name in ("engine", "snapshot_engine"):
            engine = database.__dict__.pop(name, None)
            if engine is not None:
                engine.dispose()


def _customer(number: int) -> int:
    user_id = member(f"Customer{number}").user_id
    assert user_id is not None
    opening = Move(f"topup:{number}", "topup", TOPUPS, account_of(user_id), OPENING, topup_id=number)
    postgres.users.write(lambda db: ledger.transfer(db, opening))
    return user_id


# What the workers do


def at_the_counter(client: int, customers: list[int], orders: int) -> dict[Order, bool]:
    """Send so many orders, each until the bank has answered, and now and then once more after that; returns whether
    each was carried out."""
    try:
        return _send(client, customers, orders)
    finally:
        with gone_home.get_lock():
            gone_home.value += 1
        if gone_home.value == CLIENTS:
            closed.set()


def _send(client: int, customers: list[int], orders: int) -> dict[Order, bool]:
    chance = random.Random(client)  # noqa: S311
    answers = {}
    for number in range(orders):
        payer, *payees = chance.sample(customers, chance.choice((2, 2, 2, 3)))
        order = Order(f"refund:bank:{client}:{number}", payer, tuple(payees), chance.randint(1, 60))
        answers[order] = _until_answered(order)
        if answers[order] and chance.random() < 0.05:
            assert _until_answered(order), "what was carried out stays so"
    return answers


def _until_answered(order: Order) -> bool:
    def send() -> tuple[bool] | None:
        try:
            made = postgres.users.write(lambda db: ledger.transfer(db, *order.moves))
        except InsufficientTokens:
            return (False,)
        except StoreAway:
            return None
        assert [row.id for row in made] == [move.id for move in order.moves]
        return (True,)

    answer = eventually(send, "the bank answers", within=2 * RECOVERY, pause=0.05)
    assert answer is not None
    with acknowledged.get_lock():
        acknowledged.value += 1
    return answer[0]


def audit() -> tuple[int, int]:
    """Look at all accounts and all transfers, over and over; returns how often that was possible and how often not."""
    looked = away = 0
    while not closed.wait(0.02):
        try:
            with postgres.users.snapshot() as db:
                balances = {row.id: row.tokens for row in db.execute(text(BALANCES))}
                sums = {row.id: row.tokens for row in db.execute(text(SUMS))}
                below_zero = db.execute(text(BELOW_ZERO)).scalar_one()
        except StoreAway:
            away += 1
            continue
        assert sum(balances.values()) == ACCOUNTS * OPENING
        assert min(balances.values()) >= 0
        assert below_zero == 0
        assert balances == sums
        looked += 1
    return looked, away


# What is done to the server meanwhile


def disturb(bank: Bank, done: Future[list[object]]) -> list[float]:
    """Kill and freeze the server by turns, as the work advances; returns how long each fault kept everybody waiting,
    in seconds."""
    faults = [fault for pair in zip(["kill"] * KILLS, ["freeze"] * FREEZES, strict=True) for fault in pair]
    chance = random.Random(0)  # noqa: S311
    waits = []
    for number, fault in enumerate(faults, start=1):
        mark = ORDERS * number // (len(faults) + 1)
        eventually(lambda: acknowledged.value >= mark or done.done(), f"{mark} orders", within=LONGEST)  # noqa: B023
        assert not done.done(), "the clients were done before all faults had happened"
        began, before = time.monotonic(), acknowledged.value
        if fault == "kill":
            bank.kill()
        else:
            bank.freeze(chance.choice((0.5, 2.0, 9.0)) if FULL else 1.0)  # the clients' patience is 8 s
        recovered = time.monotonic()
        before = max(before, acknowledged.value)
        eventually(lambda: acknowledged.value > before or done.done(), "it goes on", within=RECOVERY)  # noqa: B023
        waits.append(time.monotonic() - began)
        assert time.monotonic() - recovered < RECOVERY
    return waits


@pytest.mark.timeout(LONGEST + 60)
def test_no_token_is_lost_or_made_while_the_server_is_killed_and_frozen(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    acknowledged.value = gone_home.value = 0
    closed.clear()
    began = time.monotonic()
    with ThreadPoolExecutor(1) as threads, Crew(CLIENTS + AUDITORS, patience=LONGEST) as crew:
        clients: list[Any] = [(at_the_counter, (n, bank.customers, ORDERS // CLIENTS)) for n in range(CLIENTS)]
        done = threads.submit(crew.at_once, [*clients, *[(audit, ())] * AUDITORS])
        waits = disturb(bank, done)
        answers = done.result()
    took = time.monotonic() - began
    orders: dict[Order, bool] = {order: answer for sent in answers[:CLIENTS] for order, answer in sent.items()}
    carried_out = [order for order, answer in orders.items() if answer]
    refused = [order for order, answer in orders.items() if not answer]
    assert len(orders) == ORDERS
    assert len(refused) > ORDERS // 100, "nobody was short of tokens: nothing was proved of that"

    stores = Stores(bank.endpoints)
    ledger_holds(stores)
    made = {row["id"]: row for row in stores.rows("itlc_users", "SELECT * FROM transfers WHERE kind <> 'topup'")}
    asked = {move.id: move for order in carried_out for move in order.moves}
    assert made.keys() == asked.keys(), "one was lost, or moved although it was refused"
    for id, move in asked.items():
        row = made[id]
        assert (row["debit_user_id"], row["credit_user_id"]) == (move.debit.user_id, move.credit.user_id)
        assert row["tokens"] == move.tokens
    assert len({row["sequence"] for row in made.values()}) == len(made)
    assert len(made) >= TRANSFERS

    looked, away = (sum(counts) for counts in zip(*answers[CLIENTS:], strict=True))
    assert looked > 0
    assert (bank.kills, bank.freezes) == (KILLS, FREEZES)
    if FULL:
        with capsys.disabled():
            print(  # noqa: T201 # what `make faults` is to tell
                f"\nbank: {len(orders)} orders of {CLIENTS} clients in {took:.0f} s ({len(orders) / took:.0f}/s), "
                f"{len(made)} transfers, {len(refused)} orders refused, {bank.kills} kills, {bank.freezes} freezes "
                f"(waits {min(waits):.1f} to {max(waits):.1f} s), {looked} snapshots, {away} times away"
            )
