"""The plans' queries.

    (:OrderStep {id, order_id, step_number, …})-[:OF]->(:Order {id, revision})
    (:OrderStep)-[:DEPENDS_ON]->(:OrderStep)

Everything of one plan happens one after another: whoever changes it locks its order's node first (`lock`), and so
does who reads it (`hold`), for without a lock one could see half of a plan that is just being replaced.
`revision` counts the changes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from itlc.plans.model import Step
from itlc.stores.neo4j import GraphTransaction

SEPARATOR = ", "

STEP = "s {.*, depends_on: [(s)-[:DEPENDS_ON]->(d) | d.step_number]}"


def lock(db: GraphTransaction, order_id: int) -> int:
    """Lock the order's plan until the transaction ends and count a change of it; returns the new revision, from 1."""
    record = db.one(
        "MERGE (o:Order {id: $order_id}) SET o.revision = coalesce(o.revision, 0) + 1 RETURN o.revision AS revision",
        order_id=order_id,
    )
    assert record is not None, "MERGE always returns a row"  # noqa: S101
    return int(record["revision"])


def hold(db: GraphTransaction, order_id: int) -> int:
    """Lock the order's plan until the transaction ends, for reading it; returns its revision, 0 where there is none.

    Only setting a property takes the lock (removing one that is not there does not, nor does reading); once it has
    the value, nothing is written.
    """
    record = db.one(
        "MATCH (o:Order {id: $order_id}) SET o._lock = 0 WITH o RETURN o.revision AS revision", order_id=order_id
    )
    return 0 if record is None else int(record["revision"])


def steps_of(db: GraphTransaction, order_id: int) -> list[Step]:
    """The whole plan (whose order is locked), by step number."""
    records = db.run(
        f"MATCH (s:OrderStep {{order_id: $order_id}}) WITH s ORDER BY s.step_number RETURN {STEP} AS step",
        order_id=order_id,
    )
    return [_step(record["step"]) for record in records]


def step(db: GraphTransaction, order_id: int, step_id: str) -> Step | None:
    """One step of the order (which is locked), or None."""
    record = db.one(
        f"MATCH (s:OrderStep {{id: $step_id, order_id: $order_id}}) RETURN {STEP} AS step",
        order_id=order_id,
        step_id=step_id,
    )
    return None if record is None else _step(record["step"])


def page_of_steps(db: GraphTransaction, order_id: int, *, after: tuple[int, str] | None, limit: int) -> list[Step]:
    """Up to `limit` steps of the order (which is locked), by step number.

    `after` is number and id of the step before the page. It is looked up by its id, for its number may have moved;
    where it was removed meanwhile, the step that has its number now comes first.
    """
    number, step_id = after or (1, None)
    records = db.run(
        f"""
        OPTIONAL MATCH (before:OrderStep {{id: $step_id, order_id: $order_id}})
        WITH coalesce(before.step_number, $number - 1) AS last
        MATCH (s:OrderStep {{order_id: $order_id}}) WHERE s.step_number > last
        WITH s ORDER BY s.step_number LIMIT $limit
        RETURN {STEP} AS step
        """,
        order_id=order_id,
        number=number,
        step_id=step_id,
        limit=limit,
    )
    return [_step(record["step"]) for record in records]


def steps_of_orders(db: GraphTransaction, order_ids: Collection[int]) -> list[Step]:
    """All steps of these orders, by order and step number. Nothing is locked: each is as it is at some moment."""
    records = db.run(
        "MATCH (s:OrderStep) WHERE s.order_id IN $order_ids "
        f"WITH s ORDER BY s.order_id, s.step_number RETURN {STEP} AS step",
        order_ids=sorted(order_ids),
    )
    return [_step(record["step"]) for record in records]


def steps_with_address(db: GraphTransaction, emails: Collection[str]) -> list[Step]:
    """All steps that notify one of these addresses, in whatever case, by order and step number."""
    wanted = {email.lower() for email in emails}
    records = db.run(
        "MATCH (s:OrderStep) WHERE any(email IN $emails WHERE toLower(s.notified_personnel) CONTAINS email) "
        f"WITH s ORDER BY s.order_id, s.step_number RETURN {STEP} AS step",
        emails=sorted(wanted),
    )
    steps = [_step(record["step"]) for record in records]
    return [step for step in steps if wanted & {address.lower() for address in step.notified_personnel}]


def forget_answers_with_address(db: GraphTransaction, emails: Collection[str]) -> None:
    """Remove the answers kept under idempotency keys that quote one of these addresses, whoever got them."""
    db.run(
        "MATCH (k:IdempotencyKey) WHERE any(email IN $emails WHERE toLower(k.answer) CONTAINS email) DELETE k",
        emails=sorted({email.lower() for email in emails}),
    )


def replace_steps(db: GraphTransaction, order_id: int, steps: Sequence[Step]) -> None:
    """Put `steps` in the place of the whole plan (whose order is locked)."""
    db.run("MATCH (s:OrderStep {order_id: $order_id}) DETACH DELETE s", order_id=order_id)
    _add(db, order_id, steps)
    ids = {step.step_number: step.id for step in steps}
    _connect(db, [(step.id, ids[number]) for step in steps for number in step.depends_on])


def insert_step(db: GraphTransaction, new: Step, depends_on: Iterable[str]) -> None:
    """Insert `new` at its number; the step that has it and those after it move up by one. `depends_on` are ids."""
    db.run(
        "MATCH (s:OrderStep {order_id: $order_id}) WHERE s.step_number >= $number "
        "SET s.step_number = s.step_number + 1",
        order_id=new.order_id,
        number=new.step_number,
    )
    _add(db, new.order_id, [new])
    _connect(db, [(new.id, dependency) for dependency in depends_on])


def change_step(db: GraphTransaction, step: Step) -> None:
    """Keep `step` as it is now, all but its dependencies."""
    db.run("MATCH (s:OrderStep {id: $id}) SET s += $fields", id=step.id, fields=_fields(step))


def change_dependencies(db: GraphTransaction, step_id: str, depends_on: Iterable[str]) -> None:
    """Let the step depend on these, given by their ids, and no others."""
    db.run("MATCH (:OrderStep {id: $id})-[dependency:DEPENDS_ON]->() DELETE dependency", id=step_id)
    _connect(db, [(step_id, dependency) for dependency in depends_on])


def remove_step(db: GraphTransaction, step: Step) -> None:
    """Remove the step with its dependencies; those after it move down by one."""
    db.run("MATCH (s:OrderStep {id: $id}) DETACH DELETE s", id=step.id)
    db.run(
        "MATCH (s:OrderStep {order_id: $order_id}) WHERE s.step_number > $number SET s.step_number = s.step_number - 1",
        order_id=step.order_id,
        number=step.step_number,
    )


def _add(db: GraphTransaction, order_id: int, steps: Sequence[Step]) -> None:
    db.run(
        "MATCH (o:Order {id: $order_id}) UNWIND $steps AS fields CREATE (s:OrderStep)-[:OF]->(o) SET s = fields",
        order_id=order_id,
        steps=[_fields(step) for step in steps],
    )


def _connect(db: GraphTransaction, pairs: Sequence[tuple[str, str]]) -> None:
    """Let the first step of each pair depend on the second, all given by their ids."""
    db.run(
        "UNWIND $pairs AS pair MATCH (s:OrderStep {id: pair[0]}) MATCH (d:OrderStep {id: pair[1]}) "
        "CREATE (s)-[:DEPENDS_ON]->(d)",
        pairs=[list(pair) for pair in pairs],
    )


def _fields(step: Step) -> dict[str, Any]:
    """A step's properties: the addresses are one text, the dependencies are relationships."""
    fields = asdict(step)
    del fields["depends_on"]
    return {**fields, "notified_personnel": SEPARATOR.join(step.notified_personnel)}


def _step(fields: dict[str, Any]) -> Step:
    addresses, completed_at = fields["notified_personnel"], fields.get("completed_at")
    return Step(
        id=fields["id"],
        order_id=fields["order_id"],
        step_number=fields["step_number"],
        description=fields["description"],
        requirements=fields["requirements"],
        notified_personnel=tuple(addresses.split(SEPARATOR)) if addresses else (),
        depends_on=tuple(sorted(fields["depends_on"])),
        duration_hours=fields["duration_hours"],
        created_at=fields["created_at"].to_native(),
        completed_at=completed_at and completed_at.to_native(),
    )
