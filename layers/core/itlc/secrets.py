"""Secrets by name, fetched from Secrets Manager when first needed and kept for the worker's life."""

import json
from functools import cache

from itlc.aws import client
from itlc.errors import StoreAway
from itlc.settings import settings


@cache
def secret(name: str) -> dict[str, str]:
    """The fields of the secret `name`, for instance `secret("orders")["url"]`.

    Raises LookupError when the function was not given that secret, StoreAway when Secrets Manager does not answer.
    """
    arn = settings().secrets.get(name)
    if arn is None:
        raise LookupError(f"no ITLC_SECRET_{name.upper()} is set: the template does not give this function that secret")
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        text = client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
    except (BotoCoreError, ClientError) as error:
        raise StoreAway("Secrets Manager") from error
    fields: dict[str, str] = json.loads(text)
    return fields
