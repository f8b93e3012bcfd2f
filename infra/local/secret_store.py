"""The secrets that the functions read, kept in Secrets Manager: made when missing, brought up to date when changed."""

import json
import secrets
from typing import Any

import boto3

from infra.local.stack import Endpoints

DATABASE_SECRETS = {
    "users": "itlc_users",
    "api": "itlc_api",
    "orders": "itlc_orders",
    "tokens": "itlc_tokens",
    "templates": "itlc_templates",
}
KEYS = ("sessions", "cursors", "pseudonyms")


def aws_client(endpoints: Endpoints, service: str) -> Any:
    """A boto3 client of the emulator (or of whatever `AWS_ENDPOINT_URL` named)."""
    return boto3.client(
        service,
        endpoint_url=endpoints.aws_endpoint,
        region_name=endpoints.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator's
    )


def store_secrets(endpoints: Endpoints) -> dict[str, str]:
    """Keep every secret under `itlc/<name>`; returns the ARN of each by its name (see `itlc.settings`).

    A database's secret holds the application role's URL. Signing keys are made once and then left as they are.
    """
    client = aws_client(endpoints, "secretsmanager")
    values: dict[str, dict[str, str] | None] = {
        name: {"url": endpoints.postgres[database].app_url} for name, database in DATABASE_SECRETS.items()
    }
    values["mongodb"] = {"url": endpoints.mongodb_url}
    values["neo4j"] = {
        "uri": endpoints.neo4j_uri,
        "user": endpoints.neo4j_user,
        "password": endpoints.neo4j_password,
        "database": endpoints.neo4j_database,
    }
    values |= dict.fromkeys(KEYS)
    return {name: _store(client, f"itlc/{name}", value) for name, value in values.items()}


def _store(client: Any, name: str, value: dict[str, str] | None) -> str:
    try:
        known = client.get_secret_value(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        text = json.dumps(value or {"key": secrets.token_urlsafe(48)})
        return str(client.create_secret(Name=name, SecretString=text)["ARN"])
    if value is not None and json.loads(known["SecretString"]) != value:
        client.put_secret_value(SecretId=name, SecretString=json.dumps(value))
    return str(known["ARN"])
