"""What the seam does for every queue, shown on notifications, on real stores."""

import pytest
from itlc import events
from itlc.notices import notice

from tests.support.calling import deliver
from tests.support.people import person
from tests.support.queues import dead_letters
from tests.support.stack import Stores


def told(stores: Stores) -> list[str]:
    """What the users were told."""
    return [row["message"] for row in stores.rows("itlc_orders", "SELECT message FROM notifications ORDER BY id")]


def test_poison_goes_to_the_dead_letters_and_holds_up_nobody(stores: Stores) -> None:
    ada = person("Ada")
    good = notice("order:1", "Hello", users=[ada.user_id])
    failed = deliver("deliver_notifications", "{", good.body(), good.body().replace("notice", "novelty"))
    assert failed == []
    assert told(stores) == ["Hello"]
    assert len(dead_letters("notifications")) == 2


def test_what_cannot_be_buried_is_tried_again_and_holds_up_nobody(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = person("Ada")

    def away(*args: object) -> None:
        raise ConnectionError("the queue is away")

    monkeypatch.setattr(events, "bury", away)
    failed = deliver("deliver_notifications", "{", notice("order:1", "Hello", users=[ada.user_id]).body())
    assert failed == ["message-0"]
    assert told(stores) == ["Hello"]
