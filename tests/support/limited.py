"""Settings and the clock of the limits, for one test."""

from types import SimpleNamespace

import pytest
from itlc import limits
from itlc.settings import settings


def set_limits(monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    """Have the settings of these names read these values until the test ends (with the fixture `own_settings`)."""
    for name, value in values.items():
        monkeypatch.setenv(f"ITLC_{name.upper()}", str(value))
    settings.cache_clear()


def stop_clock(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    """Let the limits take it for that moment, in Unix seconds."""
    monkeypatch.setattr(limits, "time", SimpleNamespace(time=lambda: at))
