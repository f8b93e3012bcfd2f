"""The rules of accounts. No I/O."""

SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 128
MOST_OPEN_RESETS = 5
"""A user gets no further mail while so many reset tokens are open, so that nobody can flood a mailbox."""
SIGNED_OUT, PASSWORD_CHANGED, TOKEN_REUSED, ADMIN_CHANGED, ERASED = (
    "signed_out",
    "password_changed",
    "token_reused",
    "admin_changed",
    "erased",
)
"""Why a session ended."""

NAME_OF_NOBODY = "(erased)"
"""The name of whoever was erased."""


def email_of_nobody(id: int) -> str:
    """The e-mail address of whoever was erased: unlike any other, and none that mail could reach (RFC 2606)."""
    return f"erased-{id}@invalid"


def weakness(password: str, email: str) -> str | None:
    """Why a password of fitting length may not be the one of the user with this e-mail address, or None if it may."""
    if len(set(password)) == 1:
        return "must not be one character over and over"
    if password.casefold() == email.partition("@")[0].casefold():
        return "must not be the name in the e-mail address"
    return None
