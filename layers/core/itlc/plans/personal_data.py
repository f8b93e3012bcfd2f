"""What the plans of orders know of a person: shown to them, and taken out when they leave."""

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from itlc.plans import repository
from itlc.plans.model import Step
from itlc.redaction import redacted
from itlc.stores.neo4j import GraphTransaction, graph


def export(db: GraphTransaction, order_ids: Collection[int], email: str) -> dict[str, Any]:
    """The steps of the person's orders; of other steps that notify them, that they do, and not what they are about or
    whom else they notify, for those orders are not theirs to see."""
    own = repository.steps_of_orders(db, order_ids)
    others = [step for step in repository.steps_with_address(db, [email]) if step.order_id not in order_ids]
    return {
        "steps": [asdict(step) for step in own],
        "notified_by": [
            {
                "id": step.id,
                "order_id": step.order_id,
                "step_number": step.step_number,
                "notified_personnel": [address for address in step.notified_personnel if _same(address, [email])],
                "created_at": step.created_at,
            }
            for step in others
        ],
    }


def erase(order_ids: Collection[int], names: Collection[str], emails: Collection[str]) -> None:
    """Remove a person's addresses from whom steps notify, and names and addresses from what these steps say and those
    of their orders. One transaction for each order, whose plan counts it as a change. Opens Neo4j itself."""
    without = partial(_without, order_ids=order_ids, names=names, emails=emails)
    steps = graph.read(lambda db: repository.steps_with_address(db, emails))
    steps += graph.read(lambda db: repository.steps_of_orders(db, order_ids))
    for order_id in sorted({step.order_id for step in steps if without(step) != step}):
        graph.write(partial(_erase, order_id=order_id, without=without))
    graph.write(lambda db: repository.forget_answers_with_address(db, emails))


def _erase(db: GraphTransaction, order_id: int, without: Callable[[Step], Step]) -> None:
    repository.lock(db, order_id)
    for step in repository.steps_of(db, order_id):
        after = without(step)
        if after != step:
            repository.change_step(db, after)


def _without(step: Step, order_ids: Collection[int], names: Collection[str], emails: Collection[str]) -> Step:
    others = tuple(address for address in step.notified_personnel if not _same(address, emails))
    if others == step.notified_personnel and step.order_id not in order_ids:
        return step
    words = (*names, *emails)
    return replace(
        step,
        description=redacted(step.description, words),
        requirements=redacted(step.requirements, words),
        notified_personnel=others,
    )


def _same(address: str, emails: Collection[str]) -> bool:
    return address.lower() in {email.lower() for email in emails}
