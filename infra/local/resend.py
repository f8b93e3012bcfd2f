"""After the emulator was killed: the messages that were in its queues are sent again, from the databases' outboxes."""

from collections.abc import Mapping
from contextlib import closing
from urllib.parse import unquote, urlsplit

from infra.local.postgres import Credentials
from infra.local.server import Say

# What is older than an hour was consumed, or is a dead letter that its operator knows of.
WAIT_AGAIN = (
    "UPDATE outbox SET published_at = NULL, claimed_until = now() WHERE published_at > now() - interval '1 hour'"
)


def send_again(databases: Mapping[str, Credentials], say: Say) -> None:
    """Have the events of the last hour wait in the outboxes of `databases` again, for the relay to send them.

    What was consumed already is applied no second time: that is what inboxes are for. MongoDB and Neo4j keep no event
    that was sent, so theirs are not among them. Raises pg8000's error when a database cannot be asked.
    """
    import pg8000.native

    waiting = 0
    for name, pair in databases.items():
        url = urlsplit(pair.owner_url)
        with closing(
            pg8000.native.Connection(
                unquote(url.username or name),
                host=url.hostname or "127.0.0.1",
                port=url.port or 5432,
                password=unquote(url.password or ""),
                database=name,
                timeout=30,
            )
        ) as connection:
            if connection.run("SELECT to_regclass('outbox') IS NOT NULL")[0][0]:
                connection.run(WAIT_AGAIN)
                waiting += connection.row_count
    if waiting:
        say(f"AWS emulator: its queues were lost; {waiting} events of the last hour are sent again")
