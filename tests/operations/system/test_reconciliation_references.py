"""Reconciliation: what no longer belongs together is reported, by its row, and alone."""

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from itlc.notices import notice
from itlc.stores import mongo

from tests.operations.system.world import LONG_AGO, World
from tests.support.calling import deliver
from tests.support.market import order_in, project_of
from tests.support.money import holder
from tests.support.plans import lay_down, step
from tests.support.queues import drain


def test_an_order_without_its_bid(world: World) -> None:
    world.sql("itlc_orders", "UPDATE orders SET bid_id = 4711 WHERE id = :id", id=world.open)
    (bid,) = world.sql("itlc_orders", "SELECT id FROM bidding WHERE order_id = :id", id=world.open)
    assert world.broken() == {"won_bid_has_its_order": [f"bid:{bid['id']}", f"order:{world.open}"]}


def test_a_bid_of_another_amount_than_its_order(world: World) -> None:
    (bid,) = world.sql("itlc_orders", "UPDATE bidding SET amount = 1 WHERE order_id = :id RETURNING id", id=world.open)
    assert world.broken() == {"won_bid_has_its_order": [f"bid:{bid['id']}"]}


def test_what_lives_on_of_who_was_erased(world: World) -> None:
    eve = holder("Eve")
    own = project_of(eve)
    deliver("deliver_notifications", notice("order:1", "a", users=[eve.user_id]).body())
    world.erase(eve, at="now()")
    assert world.broken() == {}  # the job is at it
    world.erase(eve)
    (row,) = world.sql("itlc_orders", "SELECT id FROM notifications WHERE user_id = :eve", eve=eve.user_id)
    broken = world.broken()
    assert broken.keys() == {"nothing_refers_to_erased"}
    sessions = [name for name in broken["nothing_refers_to_erased"] if name.startswith("session:")]
    assert len(sessions) == 1
    rest = set(broken["nothing_refers_to_erased"]) - set(sessions)
    assert rest == {f"notification:{row['id']}", f"project:{own}"}


def test_steps_of_an_order_that_is_not_there(world: World) -> None:
    world.stores.graph("CREATE (:OrderStep {id: 'a', order_id: 4711, step_number: 1})")
    assert world.broken() == {"nothing_refers_to_erased": ["steps_of_order:4711"]}


def test_steps_of_an_order_that_came_after_the_snapshots(world: World) -> None:
    with world.snapshots() as stores:
        lay_down(world.bob, order_in("in_progress", world.ada, world.bob), [step(1)])
        assert world.checked("nothing_refers_to_erased", stores) == []


def test_a_project_that_does_not_follow_its_orders(world: World) -> None:
    projects = world.stores.mongo["itlc_pbfr"]["projects"]
    projects.update_one({"_id": ObjectId(world.project)}, {"$set": {"status": "open"}})
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


def test_a_project_that_is_behind_may_follow_for_fifteen_minutes(world: World) -> None:
    projects = world.stores.mongo["itlc_pbfr"]["projects"]
    projects.update_one({"_id": ObjectId(world.project)}, {"$set": {"status": "open", "status_version": 1}})
    world.sql("itlc_orders", "UPDATE project_progress SET updated_at = now() - interval '14 minutes'")
    assert world.broken() == {}
    world.sql("itlc_orders", f"UPDATE project_progress SET updated_at = {LONG_AGO}")
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


def test_a_project_may_be_ahead_by_what_came_after_the_snapshots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """By MongoDB's clock, which is an hour behind: so the snapshots seem to be as old to who goes by their own."""
    monkeypatch.setattr(mongo, "_clock_behind", lambda: timedelta(hours=-1))
    with world.snapshots() as stores:
        order_in("in_progress", world.ada, world.bob, project_id=world.project)
        drain()
        assert world.checked("project_follows_its_orders", stores) == []
    projects = world.stores.mongo["itlc_pbfr"]["projects"]
    ahead = {"$inc": {"status_version": 1}, "$set": {"updated_at": mongo.now() - timedelta(minutes=1)}}
    projects.update_one({"_id": ObjectId(world.project)}, ahead)
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


def test_a_project_may_be_gone_with_an_owner_who_was_erased_after_the_snapshots(world: World) -> None:
    world.sql("itlc_orders", f"UPDATE project_progress SET updated_at = {LONG_AGO}")
    with world.snapshots() as stores:
        world.stores.mongo["itlc_pbfr"]["projects"].delete_one({"_id": ObjectId(world.project)})
        assert world.checked("project_follows_its_orders", stores) == [f"project:{world.project}"]
        world.sql("itlc_users", "UPDATE users SET erased_at = now() WHERE id = :id", id=world.ada.user_id)
        assert world.checked("project_follows_its_orders", stores) == []


def test_a_project_that_is_gone_though_it_has_orders(world: World) -> None:
    world.stores.mongo["itlc_pbfr"]["projects"].delete_one({"_id": ObjectId(world.project)})
    world.sql("itlc_orders", f"UPDATE project_progress SET updated_at = {LONG_AGO}")
    assert world.broken() == {"project_follows_its_orders": [f"project:{world.project}"]}


# Ratings


def rating_changed(world: World, minutes_ago: float = 20, **change: Any) -> None:
    """Change the one rating that there is."""
    was = {"updated_at": mongo.now() - timedelta(minutes=minutes_ago), **change}
    world.stores.mongo["itlc_pbfr"]["ratings"].update_one({"order_id": world.paid}, {"$set": was})


@pytest.mark.parametrize("change", ["rating_count = 2", "rating_sum = 5"])
def test_a_service_that_is_rated_otherwise_than_it_counted(world: World, change: str) -> None:
    (service,) = world.sql("itlc_api", f"UPDATE services SET {change} WHERE rating_count = 1 RETURNING id")
    assert world.broken() == {"service_rating_follows_ratings": [f"service:{service['id']}"]}


def test_a_rating_that_is_not_counted(world: World) -> None:
    (gone,) = world.sql("itlc_api", "DELETE FROM service_ratings RETURNING service_id")
    uncounted = [f"service:{gone['service_id']}", f"rating_of_order:{world.paid}"]
    rating_changed(world)
    assert world.broken() == {"service_rating_follows_ratings": uncounted}
    world.sql("itlc_api", "UPDATE services SET rating_count = 0, rating_sum = 0")
    assert world.broken() == {"service_rating_follows_ratings": uncounted[1:]}
    rating_changed(world, minutes_ago=14)
    assert world.broken() == {}  # it may be on its way


def test_a_rating_that_nobody_gave(world: World) -> None:
    world.stores.mongo["itlc_pbfr"]["ratings"].delete_many({})
    assert world.broken() == {"service_rating_follows_ratings": [f"rating_of_order:{world.paid}"]}


@pytest.mark.parametrize("change", [{"rating": 3}, {"service_id": 4711}, {"version": 0}], ids=str)
@pytest.mark.parametrize("minutes_ago", [0, 20])
def test_a_rating_that_is_not_what_was_counted(world: World, change: dict[str, int], minutes_ago: float) -> None:
    rating_changed(world, minutes_ago, **change)
    assert world.broken() == {"service_rating_follows_ratings": [f"rating_of_order:{world.paid}"]}


def test_a_rating_that_was_given_anew_may_be_counted_fifteen_minutes_later(world: World) -> None:
    rating_changed(world, 14, rating=3, version=2)
    assert world.broken() == {}
    rating_changed(world, 16, rating=3, version=2)
    assert world.broken() == {"service_rating_follows_ratings": [f"rating_of_order:{world.paid}"]}


def test_a_rating_whose_author_was_erased_stays_counted(world: World) -> None:
    rating_changed(world, user_id=None, version=2)
    assert world.broken() == {}
    rating_changed(world, user_id=None, version=3)
    assert world.broken() == {"service_rating_follows_ratings": [f"rating_of_order:{world.paid}"]}
