"""The AWS emulator of the stack: MiniStack, which runs the functions with this environment's Python."""

import os
import shutil
import sys
import urllib.error
import urllib.request
from typing import ClassVar

from infra.local import process
from infra.local.server import Server

REGION = "us-east-1"
# Any key that is not a real one: the emulator takes it for the account's root.
TEST_KEYS = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")


class Aws(Server):
    """The embedded AWS emulator. What it holds is saved when it ends; killed, it forgets what changed since its last
    start, and `itlc up` deploys again. With `durable=False` it keeps nothing between two starts."""

    name: ClassVar[str] = "aws"
    title: ClassVar[str] = "AWS emulator"

    def prepare(self) -> None:
        # Unpacked functions of an earlier run.
        shutil.rmtree(self.data / "tmp", ignore_errors=True)
        (self.data / "tmp").mkdir()

    def environment(self, port: int) -> dict[str, str]:
        keep = "1" if self.durable else "0"
        return {
            **process.base_environment(),
            **TEST_KEYS,
            # Functions may do what their roles' policies say, as on AWS; who calls from outside is the account's root.
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            # In the queues' addresses; "localhost" may mean ::1, where nobody listens.
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "PERSIST_STATE": keep,
            "S3_PERSIST": keep,
            "STATE_DIR": str(self.data / "state"),
            "S3_DATA_DIR": str(self.data / "s3"),
            "TMPDIR": str(self.data / "tmp"),
            "LAMBDA_EXECUTOR": "local",
            # Its MQTT and SFTP listeners would open ports of their own, to everybody.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # It removes containers that it takes for its own: it shall not find any.
            "DOCKER_HOST": f"unix://{self.data / 'no-docker.sock'}",
        }

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-m", "ministack"]

    def answers(self, port: int) -> bool:
        return healthy(f"http://127.0.0.1:{port}")

    @property
    def endpoint(self) -> str:
        """The address for `AWS_ENDPOINT_URL`."""
        return f"http://127.0.0.1:{self.port}"


def healthy(endpoint: str) -> bool:
    """Whether the emulator at the URL `endpoint` (MiniStack, LocalStack) says that it is well."""
    try:
        with urllib.request.urlopen(f"{endpoint.rstrip('/')}/_localstack/health", timeout=5) as answer:  # noqa: S310 # nosec B310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def region() -> str:
    """The region that commands work in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
