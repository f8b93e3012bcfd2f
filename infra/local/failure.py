"""The one error that the embedded stack raises: which part failed, why, where its log is, what to do about it."""

from pathlib import Path

TAIL_LINES = 15
TAIL_BYTES = 64 * 1024


def last_lines(log: Path | None, count: int = TAIL_LINES) -> list[str]:
    """The last `count` lines of the file `log`; none if there is no such file."""
    if log is None or not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]


class StackError(Exception):
    """A part of the embedded stack failed.

    `part` is a server (`postgres`, `mongodb`, `neo4j`, `aws`), `jars` or `stack`; `why` says what went wrong, `log` is
    the file with the details (or None), `what_to_do` is the reader's next step. The text shows all four, with the
    log's last lines as they were when the error was raised.
    """

    def __init__(self, part: str, why: str, *, log: Path | None = None, what_to_do: str) -> None:
        self.part, self.why, self.log, self.what_to_do = part, why, log, what_to_do
        lines = [f"{part}: {why}"]
        if log is not None:
            tail = last_lines(log)
            lines.append(f"log: {log}" + ("" if tail else " (empty)"))
            lines += [f"  | {line}" for line in tail]
        lines.append(f"what to do: {what_to_do}")
        super().__init__("\n".join(lines))
