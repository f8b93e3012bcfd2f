"""What the seam does for every queue, shown on notifications, on real stores."""

import time

import pytest
from itlc import events
from itlc.aws import client
from itlc.errors import StoreAway
from itlc.notices import notice
from itlc.settings import settings
from itlc.stores import postgres

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


@pytest.mark.parametrize(
    ("receives", "kept_by_the_queue", "put_off"), [(1, True, 0), (3, True, 0), (4, False, 1), (5, False, 1)]
)
def test_what_needs_a_store_that_is_away_is_put_off_before_it_is_a_dead_letter(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, receives: int, kept_by_the_queue: bool, put_off: int
) -> None:
    ada = person("Ada")
    body = notice("order:1", "Hello", users=[ada.user_id]).body()

    def away(*args: object) -> None:
        raise StoreAway("itlc_orders")

    with monkeypatch.context() as patch:
        patch.setattr(postgres.orders, "write", away)
        failed = deliver("deliver_notifications", body, receives=receives)
    assert failed == (["message-0"] if kept_by_the_queue else [])
    assert dead_letters("notifications") == []
    url, waiting = settings().queues["notifications"], "ApproximateNumberOfMessagesDelayed"
    found = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[waiting])
    assert int(found["Attributes"][waiting]) == put_off
    assert deliver("deliver_notifications", body) == []
    assert told(stores) == ["Hello"]


@pytest.mark.parametrize("first_sent", [None, 1_700_000_000_123])
def test_a_message_that_is_put_off_is_counted_and_says_when_it_was_first_sent(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first_sent: int | None
) -> None:
    began = time.time() * 1000
    body = notice("order:1", "Hello", users=[person("Ada").user_id]).body()
    put_off: list[tuple[str, ...]] = []

    def away(*args: object) -> None:
        raise StoreAway("itlc_orders")

    monkeypatch.setattr(postgres.orders, "write", away)
    monkeypatch.setattr(events, "put_off", lambda *message: put_off.append(message))
    assert deliver("deliver_notifications", body, receives=4, first_sent=first_sent) == []
    ((queue, again, sent),) = put_off
    assert (queue, again) == ("notifications", body)
    assert int(sent) == first_sent if first_sent else int(sent) >= int(began)
    assert '"service":"queues","PutOff":[1.0]' in capsys.readouterr().out


def test_only_a_store_that_is_away_puts_a_message_off(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ValueError("a mistake of ours")

    body = notice("order:1", "Hello", users=[person("Ada").user_id]).body()
    monkeypatch.setattr(postgres.orders, "write", broken)
    assert deliver("deliver_notifications", body, receives=5) == ["message-0"]
