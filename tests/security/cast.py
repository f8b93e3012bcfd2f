"""Those who call in the matrix of rights, the things that are theirs, and a fingerprint of everything stored."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from itertools import count
from typing import Any, Literal, get_args

from infra.local import docs_assets
from tests.support.calling import As, nobody
from tests.support.market import open_bid, order_in, project_of, provider_of, service_of
from tests.support.money import holder
from tests.support.people import PASSWORD
from tests.support.plans import lay_down, step
from tests.support.queues import drain
from tests.support.stack import Stores

Actor = Literal["anonymous", "stranger", "rival", "customer", "seller", "admin", "erased"]
"""Nobody; a user with nothing to do with it; another provider; who ordered, bid, planned; whose service it is; an
administrator without a provider profile; somebody erased, whose access token still has some minutes to live."""
ACTORS: tuple[Actor, ...] = get_args(Actor)
# Counting who asks how often is no effect of the request (see `itlc.limits`).
COUNTS = "request_counts"


@dataclass
class Cast:
    """Everybody of one row of the matrix, in stores that were empty. What they have is made when it is asked for."""

    stores: Stores
    stranger: As = field(default_factory=lambda: holder("Stranger"))
    rival: As = field(default_factory=lambda: holder("Rival"))
    customer: As = field(default_factory=lambda: holder("Customer", 100_000))
    seller: As = field(default_factory=lambda: holder("Seller"))
    admin: As = field(default_factory=lambda: holder("Admin", admin=True))
    erased: As = field(default_factory=lambda: holder("Erased"))
    anonymous: As = nobody
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        provider_of(self.rival)
        provider_of(self.seller)
        assert self.erased.call("erase_me").status == 202
        drain()

    def actor(self, name: Actor) -> As:
        """One of them."""
        somebody: As = getattr(self, name)
        return somebody

    # What there is before the request: a new one each time

    def service(self) -> int:
        """The id of a new service of the seller's."""
        return service_of(self.seller)

    def bid(self) -> int:
        """The id of a new open bid of the customer's on a service of the seller's."""
        return open_bid(self.customer, self.service())

    def service_with_bid(self) -> int:
        """The id of a new service of the seller's, with a bid of the customer's."""
        service_id = self.service()
        open_bid(self.customer, service_id)
        return service_id

    def project_with_service(self) -> dict[str, str | int]:
        """The ids in the path of a service that a new project of the customer's uses."""
        project_id, service_id = self.project(), self.service()
        used = self.customer.call("use_service", project_id=project_id, service_id=service_id)
        assert used.status == 204, used.text
        return {"project_id": project_id, "service_id": service_id}

    def project_with_order(self) -> str:
        """The id of a new project of the customer's, with a completed order."""
        project_id = self.project()
        self.order("completed", project_id)
        return project_id

    def project(self) -> str:
        """The id of a new project of the customer's."""
        return project_of(self.customer)

    def order(self, status: str, project_id: str | None = None) -> int:
        """The id of a new order between customer and seller."""
        return order_in(status, self.customer, self.seller, project_id=project_id)

    def paid_order(self) -> int:
        """The id of a new order that the customer has paid."""
        order_id = self.order("completed")
        paid = self.customer.call("pay_order", key=f"pay-{order_id}", order_id=order_id)
        assert paid.status == 201, paid.text
        return order_id

    def bought_service(self) -> int:
        """The id of a new service of the seller's, of which the customer has a completed order."""
        service_id = self.service()
        order_in("completed", self.customer, self.seller, service_id=service_id)
        return service_id

    def steps(self, status: str = "in_progress") -> dict[str, Any]:
        """The ids in the path of the last of two independent steps, in a new order's plan."""
        order_id = self.order(status)
        return {"order_id": order_id, "step_id": lay_down(self.seller, order_id, [step(1), step(2)])[1]}

    def review(self) -> str:
        """The id of a new review of the customer's."""
        body = {"service_id": self.bought_service(), "review": "On time."}
        return self.piece("write_review", body, self.customer)

    def piece(self, operation: str, body: Mapping[str, Any], author: As) -> str:
        """The id of what a creating operation makes for its author."""
        made = author.call(operation, dict(body))
        assert made.status == 201, made.text
        return str(made["id"])

    def template(self) -> int:
        """The id of a new template."""
        body = {"name": "A garden", "description": "Beds and paths.", "type": "service"}
        return int(self.piece("keep_template", body, self.admin))

    def notification(self) -> int:
        """The id of something that the customer was told."""
        sql = (
            "INSERT INTO notifications (user_id, message, about, event_id) "
            "VALUES (:user_id, 'Something happened.', 'order:1', gen_random_uuid()) RETURNING id"
        )
        return int(self.stores.rows("itlc_orders", sql, user_id=self.customer.user_id)[0]["id"])

    def topup(self) -> int:
        """The id of a pending top-up that the seller makes for the customer."""
        from itlc.stores import postgres
        from itlc.wallet import repository

        ask = partial(
            repository.add_topup,
            user_id=self.customer.user_id,
            amount=50,
            made_by=self.seller.user_id,
            status="pending",
        )
        return int(postgres.tokens.write(ask).id)

    def with_passwords(self) -> "Cast":
        """The same people, once `PASSWORD` is everybody's password."""
        sql = "UPDATE users SET password = :hash WHERE erased_at IS NULL"
        self.stores.rows("itlc_users", sql, hash=_password_hash())
        return self

    def reset_token(self) -> str:
        """A token with which the customer's password can be reset."""
        import uuid
        from datetime import timedelta

        from itlc.accounts import repository
        from itlc.accounts.tokens import hash_of, new_secret
        from itlc.stores import postgres

        token = new_secret()
        user_id = self.customer.user_id
        assert user_id is not None
        asked, lasting = str(uuid.uuid4()), timedelta(minutes=5)
        postgres.users.write(lambda db: repository.put_reset(db, user_id, asked, hash_of(token), lasting))
        return token

    def refresh_token(self) -> str:
        """A refresh token of the customer's, not spent yet."""
        signed_in = nobody.call("sign_in", {"email": "customer@example.org", "password": PASSWORD})
        assert signed_in.status == 201, signed_in.text
        return str(signed_in["refresh_token"])

    def with_docs(self) -> "Cast":
        """The same people, once what the docs page is made of lies where a deployment puts it."""
        docs_assets.lay_out(lambda text: None)
        return self

    def new_email(self) -> str:
        """An address that nobody has."""
        return f"new{next(self.numbers)}@example.org"

    # Everything

    @cached_property
    def _tables(self) -> dict[str, list[str]]:
        from itlc.stores.postgres import DATABASES

        return {database.name: sorted(set(database.metadata.tables) - {COUNTS}) for database in DATABASES}

    def fingerprint(self, *, without_keys: bool = False) -> dict[str, str]:
        """A hash of all rows, documents, nodes and relationships, by where they are; `without_keys` leaves out the
        idempotency keys, under which a refusal is remembered."""
        found: dict[str, str] = {}
        for database, tables in self._tables.items():
            of_each = " UNION ALL ".join(
                f"SELECT '{table}' AS name, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS hash "
                f"FROM {table} t"
                for table in tables
                if not (without_keys and table == "idempotency_keys")
            )
            found |= {f"{database}.{row['name']}": row["hash"] for row in self.stores.rows(database, of_each)}
        for collection in set(self.stores.mongo["itlc_pbfr"].list_collection_names()) - {COUNTS}:
            found[f"itlc_pbfr.{collection}"] = _hash(sorted(map(str, self.stores.documents(collection))))
        # Reading a plan takes its lock by setting `_lock`, which says nothing (see `plans.repository.hold`).
        nodes = self.stores.graph(
            "MATCH (n) WHERE NOT n:RequestCount RETURN labels(n) AS labels, n {.*, _lock: null} AS fields"
        )
        links = self.stores.graph("MATCH (a)-[r]->(b) RETURN elementId(a) AS a, type(r) AS type, elementId(b) AS b")
        return {**found, "neo4j": _hash(sorted(map(str, [*nodes, *links])))}


def _hash(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@cache
def _password_hash() -> str:
    from itlc.accounts import passwords

    return passwords.hash_of_new(PASSWORD, "nobody@example.org", field="password")
