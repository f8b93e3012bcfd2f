"""How commands talk: lines of progress on standard error, results on standard output."""

from rich.console import Console

progress = Console(stderr=True)
result = Console()


def say(text: str) -> None:
    """Print one line of progress."""
    progress.print(text, markup=False, highlight=False, soft_wrap=True)
