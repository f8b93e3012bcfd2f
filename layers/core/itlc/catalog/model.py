"""The rules of the market's catalogue. No I/O."""

OFFERED, WITHDRAWN = "offered", "withdrawn"
