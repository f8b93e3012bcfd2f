"""How much of the faults is run: all of it by `make faults`, a small share by `make test`."""

import os

FULL = os.environ.get("FAULTS") == "full"


def scaled(*, full: int, share: int) -> int:
    """How often, how many, how long: `full` in `make faults`, `share` in `make test`."""
    return full if FULL else share
