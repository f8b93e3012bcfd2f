"""The mails that were handed to SES: the emulator keeps them."""

import json
import re
import urllib.request
from typing import Any

from itlc.settings import settings

from infra.local.secret_store import aws_client
from infra.local.stack import Endpoints


class Mailbox:
    """Everybody's mail, as the emulator's SES took it."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._url = f"{endpoints.aws_endpoint}/_ministack/ses/messages"
        aws_client(endpoints, "ses").verify_email_identity(EmailAddress=settings().mail_sender)
        self._seen = len(self._all())

    def mails(self, to: str) -> list[dict[str, Any]]:
        """The mails to one address since this mailbox was opened, oldest first: `Subject`, `BodyText`, `BodyHtml` …"""
        return [mail for mail in self._all()[self._seen :] if to in mail["To"]]

    def reset_token(self, to: str) -> str:
        """The token in the last password reset mail to this address."""
        found = re.search(r"/password-resets/([\w-]+)", self.mails(to)[-1]["BodyText"])
        assert found is not None
        return found[1]

    def _all(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self._url, timeout=5) as answer:  # noqa: S310 - the emulator's
            read = json.load(answer)
        return [mail for mails in read["messages"].values() for mail in mails]
