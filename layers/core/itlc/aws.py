"""AWS clients of this worker: made once, with short timeouts and one place for retries."""

from functools import cache
from typing import Any


@cache
def client(service: str) -> Any:
    """The boto3 client of `service` (`sqs`, `secretsmanager`, `ses`); imports boto3 only when first asked for."""
    import boto3
    from botocore.config import Config

    patience = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
    return boto3.client(service, config=patience)
