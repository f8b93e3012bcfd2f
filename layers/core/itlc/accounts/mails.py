"""The mails that accounts send, as plain text and as HTML, and their way out through SES."""

from dataclasses import dataclass
from html import escape
from string import Template
from urllib.parse import urlencode

from itlc.aws import client
from itlc.errors import Poison, StoreAway
from itlc.settings import settings

REFUSED = {"MessageRejected", "InvalidParameterValue", "MailFromDomainNotVerifiedException"}
"""SES's words for a mail that it will not take however often it is asked."""

TEXT = Template("""\
Hello $name,

somebody, probably you, asked to set a new password for your ITLC account.

$what_to_do

This works once, until $minutes minutes from now. If it wasn't you, do nothing: your password stays as it is.
""")
HTML = Template("""\
<!doctype html>
<html lang="en">
<body style="font-family: sans-serif; line-height: 1.5">
<p>Hello $name,</p>
<p>somebody, probably you, asked to set a new password for your ITLC account.</p>
<p>$what_to_do</p>
<p>This works once, until $minutes minutes from now. If it wasn't you, do nothing: your password stays as it is.</p>
</body>
</html>
""")


@dataclass(frozen=True)
class Mail:
    """A mail: to whom, what about, and what it says, twice."""

    to: str
    subject: str
    text: str
    html: str


def reset_mail(to: str, name: str, token: str) -> Mail:
    """The mail that brings the token of a password reset to the user called `name`."""
    if page := settings().reset_page:
        link = f"{page}?{urlencode({'token': token})}"
        in_text = f"Open this page and choose a new password:\n\n    {link}"
        in_html = f'<a href="{escape(link)}">Choose a new password</a>'
    else:
        path = f"/password-resets/{token}"
        in_text = f'Send the new password as {{"new_password": "..."}} with a POST request to\n\n    {path}'
        in_html = "Send the new password as <code>{&quot;new_password&quot;: &quot;...&quot;}</code> with a POST "
        in_html += f"request to <code>{path}</code>"
    minutes = settings().reset_minutes
    return Mail(
        to=to,
        subject="A new password for your ITLC account",
        text=TEXT.substitute(name=name, what_to_do=in_text, minutes=minutes),
        html=HTML.substitute(name=escape(name), what_to_do=in_html, minutes=minutes),
    )


def send(mail: Mail) -> None:
    """Hand a mail to SES. Raises Poison when SES refuses it for good, StoreAway when it cannot be reached."""
    from botocore.exceptions import BotoCoreError, ClientError

    def utf8(text: str) -> dict[str, str]:
        return {"Data": text, "Charset": "UTF-8"}

    try:
        client("ses").send_email(
            Source=settings().mail_sender,
            Destination={"ToAddresses": [mail.to]},
            Message={"Subject": utf8(mail.subject), "Body": {"Text": utf8(mail.text), "Html": utf8(mail.html)}},
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in REFUSED:
            raise Poison(f"SES refuses the mail: {code}") from error
        raise StoreAway("SES") from error
    except BotoCoreError as error:
        raise StoreAway("SES") from error
