"""Settings as they are read from the environment."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from itlc import events
from itlc.accounts.erasure import TOKENS_RUN_OUT
from itlc.settings import MOST_TOKEN_SECONDS, Settings, settings


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Settings]]:
    """Reads the settings with one of the variables as it is given."""

    def read(name: str, value: str) -> Settings:
        monkeypatch.setenv(name, value)
        settings.cache_clear()
        return settings()

    yield read
    settings.cache_clear()


def test_a_variable_that_cannot_be_read_is_named(read: Callable[[str, str], Settings]) -> None:
    with pytest.raises(ValueError, match="ITLC_BID_DAYS='soon' cannot be read"):
        read("ITLC_BID_DAYS", "soon")


@pytest.mark.parametrize("seconds", [0, MOST_TOKEN_SECONDS + 1])
def test_an_access_token_lives_no_longer_than_the_last_erasure_can_wait(
    read: Callable[[str, str], Settings], seconds: int
) -> None:
    assert read("ITLC_ACCESS_TOKEN_SECONDS", str(MOST_TOKEN_SECONDS)).access_token_seconds == MOST_TOKEN_SECONDS
    with pytest.raises(ValueError, match=f"ITLC_ACCESS_TOKEN_SECONDS={seconds}: must be between 1 and 840"):
        read("ITLC_ACCESS_TOKEN_SECONDS", str(seconds))
    assert timedelta(seconds=MOST_TOKEN_SECONDS) + TOKENS_RUN_OUT <= events.LONGEST_DELAY


def test_a_message_that_no_queue_keeps_back_for_so_long_is_refused_and_not_sent_early() -> None:
    again = events.event("erasures", "erase_again", "user:1", {"user_id": 1})
    with pytest.raises(ValueError, match="at most"):
        events.send_later(again, events.LONGEST_DELAY + timedelta(seconds=1))
