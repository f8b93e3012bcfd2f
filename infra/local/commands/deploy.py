"""`itlc deploy`: bring what changed to where the functions run."""

import shutil
import subprocess
from typing import Annotated

import typer

from infra.local.commands.terminal import result, say
from infra.local.failure import StackError


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(deploy)


def deploy(
    env: Annotated[
        str | None,
        typer.Option(
            help="An environment of samconfig.toml on AWS, such as dev or prod. Without it: the running stack."
        ),
    ] = None,
) -> None:
    """Deploy template.yaml to the running stack, or with --env to AWS."""
    if env is not None:
        _to_aws(env)
        return
    from infra.local import deploy as local
    from infra.local.stack import Stack, default_state_dir

    deployment = local.deploy(Stack(default_state_dir()).endpoints(), say)
    result.print(f"API   {deployment.api_url}", highlight=False, soft_wrap=True)
    result.print(f"docs  {deployment.docs_url}", highlight=False, soft_wrap=True)


def _to_aws(env: str) -> None:
    """Build and deploy with the SAM CLI, which reads the environment's parameters from samconfig.toml."""
    import tomllib

    from infra.local import docs_assets
    from infra.local.reach import ROOT

    known = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    if env not in known:
        names = ", ".join(sorted(known.keys() - {"version", "default"}))
        raise StackError("deploy", f"samconfig.toml has no environment {env!r}", what_to_do=f"name one of: {names}")
    sam = shutil.which("sam")
    if sam is None:
        raise StackError(
            "deploy",
            "the SAM CLI (`sam`) is not installed",
            what_to_do="install it apart from this environment, for instance with `pipx install aws-sam-cli`, sign in "
            "to AWS, and run this again",
        )
    docs_assets.lay_out(say)
    own = known[env].get("deploy", {}).get("parameters", {}).get("parameter_overrides", "").split()
    given = [f"{name}={value}" for name, value in _from_stacks(known[env]["global"]["parameters"]).items()]
    for step in (["build"], ["deploy", "--parameter-overrides", *own, *given]):
        say(f"sam {step[0]} --config-env {env}")
        ended = subprocess.run([sam, *step, "--config-env", env], cwd=ROOT, check=False)
        if ended.returncode:
            raise StackError(
                "deploy", f"`sam {step[0]}` ended with {ended.returncode}", what_to_do="read what it says above"
            )


def _from_stacks(environment: dict[str, str]) -> dict[str, str]:
    """The template's parameters that the environment's network and data stacks (infra/aws/) give as their outputs."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    from infra.local import template

    wanted = template.load()["Parameters"]
    found: dict[str, str] = {}
    for part in ("network", "data"):
        name = f"{environment['stack_name']}-{part}"
        try:
            cloudformation = boto3.client("cloudformation", region_name=environment["region"])
            (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
        except (BotoCoreError, ClientError) as error:
            raise StackError(
                "deploy",
                f"the stack {name} cannot be read: {error}",
                what_to_do=f"sign in to AWS; make the stack from infra/aws/{part}.yaml first",
            ) from error
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        found |= {key: value for key, value in outputs.items() if key in wanted}
    return found
