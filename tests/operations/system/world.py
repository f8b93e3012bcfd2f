"""A market in which everything that reconciliation looks at has happened, to be broken in its stores."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from itlc.operation import Deadline
from itlc.system import reconciliation
from itlc.system.snapshots import Snapshots

from tests.support.calling import As
from tests.support.kept import Kept
from tests.support.market import order_in, project_of
from tests.support.money import holder, payable
from tests.support.plans import lay_down, step
from tests.support.queues import drain
from tests.support.stack import Stores

NAMES = [invariant.name for invariant in reconciliation.INVARIANTS]
SIDES = """
    SELECT id, credit_user_id AS user_id, sequence, tokens FROM transfers WHERE credit_user_id IS NOT NULL
    UNION ALL
    SELECT id, debit_user_id, sequence, -tokens FROM transfers WHERE debit_user_id IS NOT NULL
"""
LONG_AGO = "now() - interval '20 minutes'"
JUST_BEFORE, LATER = "now() - interval '10 seconds'", "now() + interval '1 minute'"
"""As seen from the snapshots that a reconciliation takes now, with some seconds for clocks."""


class World:
    """A market in which everything that reconciliation looks at has happened."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.admin = holder("Root", admin=True)
        self.ada, self.bob = holder("Ada", 900), holder("Bob", 50)
        self.project = project_of(self.ada)
        self.paid, self.refunded = payable(self.ada, self.bob, "120.00", "30.00", project_id=self.project)
        self.open = order_in("in_progress", self.ada, self.bob, "15.00")
        assert self.ada.call("pay_project", key="p", project_id=self.project).status == 201
        assert self.bob.call("refund_order", {"amount": "10.00"}, key="r1", order_id=self.refunded).status == 201
        assert self.bob.call("refund_order", key="r2", order_id=self.refunded).status == 201
        topped_up = self.ada.call("top_up", {"amount": 5}, key="t")
        assert topped_up.status == 202
        self.topup: int = topped_up["id"]
        assert self.ada.call("rate_order", {"rating": 4}, order_id=self.paid).status == 200
        assert self.ada.call("create_project", {"name": "B", "description": "b"}, key="c").status == 201
        lay_down(self.bob, self.open, [step(1), step(2, 1)])
        assert self.bob.call("add_step", step(3), key="s", order_id=self.open).status == 201
        drain()
        self.as_it_was = Kept(stores)

    def sql(self, database: str, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Change or ask a database as its owner."""
        return self.stores.rows(database, sql, **values)

    def transfer(self, *, at: str = LONG_AGO, **fields: Any) -> uuid.UUID:
        """A transfer that nobody made, `at` some time; returns its id."""
        row = {
            "id": uuid.uuid4(),
            "kind": "refund",
            "debit_account": "house:lost",
            "credit_account": "house:lost too",
            "tokens": 5,
            "debit_user_id": None,
            "debit_balance": None,
            "credit_user_id": None,
            "credit_balance": None,
            "order_id": None,
            "topup_id": None,
            **fields,
        }
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        self.sql("itlc_users", f"INSERT INTO transfers ({names}, created_at) VALUES ({values}, {at})", **row)
        made: uuid.UUID = row["id"]
        return made

    def erase(self, who: As, at: str = LONG_AGO) -> None:
        """Erase somebody in `itlc_users`, `at` some time, as the job does; their sessions and whatever is elsewhere
        stays."""
        self.sql(
            "itlc_users",
            f"UPDATE users SET name = '(erased)', email = 'erased-' || id || '@invalid', is_admin = false, "
            f"erased_at = {at} WHERE id = :id",
            id=who.user_id,
        )

    def cover_up(self) -> None:
        """Make all balances, now and after each transfer, what the transfers say, as does who covers their traces."""
        for side in ("credit", "debit"):
            self.sql(
                "itlc_users",
                f"""UPDATE transfers SET {side}_balance = running.balance
                FROM (SELECT id, user_id, sum(tokens) OVER (PARTITION BY user_id ORDER BY sequence) AS balance
                    FROM ({SIDES}) sides) running
                WHERE running.id = transfers.id AND running.user_id = transfers.{side}_user_id""",
            )
        all_of = f"SELECT sum(tokens) FROM ({SIDES}) sides WHERE user_id = users.id"
        self.sql("itlc_users", f"UPDATE users SET tokens = coalesce(({all_of}), 0)")

    @contextmanager
    def without(self, database: str, *statements: str) -> Iterator[None]:
        """Take constraints or indexes away for a while; the world is brought back before they are made again."""
        kept = [self._made_again(database, name) for name in statements]
        for drop, _ in kept:
            self.sql(database, drop)
        try:
            yield
        finally:
            self.as_it_was.restore()
            for _, create in kept:
                self.sql(database, create)

    def _made_again(self, database: str, name: str) -> tuple[str, str]:
        found = self.sql(
            database,
            "SELECT conrelid::regclass::text AS t, pg_get_constraintdef(oid) AS made FROM pg_constraint "
            "WHERE conname = :n",
            n=name,
        )
        if found:
            table, made = found[0]["t"], found[0]["made"]
            return f"ALTER TABLE {table} DROP CONSTRAINT {name}", f"ALTER TABLE {table} ADD CONSTRAINT {name} {made}"
        (index,) = self.sql(database, "SELECT indexdef FROM pg_indexes WHERE indexname = :n", n=name)
        return f"DROP INDEX {name}", index["indexdef"]

    def found(self) -> dict[str, Any]:
        """What a reconciliation finds, by the invariant's name."""
        answer = self.admin.call("run_reconciliation")
        assert answer.status == 201, answer.text
        return {finding["name"]: finding for finding in answer["findings"]}

    def snapshots(self) -> Snapshots:
        """The stores as a reconciliation that begins now reads them; it has a minute."""
        return Snapshots(Deadline(time.monotonic() + 60))

    def checked(self, name: str, stores: Snapshots) -> list[str]:
        """Which rows break one invariant; it may not go unchecked."""
        (invariant,) = (invariant for invariant in reconciliation.INVARIANTS if invariant.name == name)
        finding = reconciliation.check(invariant, stores)
        assert finding.state != "not checked", finding
        return finding.rows

    def broken(self) -> dict[str, list[str]]:
        """Which invariants are broken, and by which rows; none may go unchecked."""
        found = self.found()
        assert {finding["state"] for finding in found.values()} <= {"holds", "broken"}, found
        return {name: finding["rows"] for name, finding in found.items() if finding["state"] == "broken"}
