"""Deploy `template.yaml` into the emulator: package, upload, let it make or change the stack, see that it answers.

What is deployed is told by hashes: an object's key holds the hash of its content, the stack's tag that of everything.
So a run that finds nothing changed does nothing, and after the emulator has lost its state all is deployed again.
"""

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from infra.local import docs_assets, template
from infra.local.failure import StackError
from infra.local.reach import ROOT
from infra.local.secret_store import aws_client, store_secrets
from infra.local.stack import Endpoints

Say = Callable[[str], None]

STACK = "itlc"
BUCKET = "itlc-deployments"
TAG = "itlc-fingerprint"
PATIENCE_SECONDS = 180
POLL_SECONDS = 0.1
ANSWERS_WITHIN_SECONDS = 20
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
# A change that failed was undone: what was deployed before is there.
STANDS = (*DONE, "UPDATE_ROLLBACK_COMPLETE")
NO_CHANGE = "No updates are to be performed"
# The parameters that mean something here; the others have their defaults. No limit keeps the tests and the benchmark
# from asking as often as they can.
LOCAL_PARAMETERS = dict.fromkeys(("RateLimit", "BurstLimit", "HashingRateLimit", "HashingBurstLimit"), "10000")
# Those that the environment may set.
SETTINGS = {
    "TokenRate": "ITLC_TOKEN_RATE",
    "CorsOrigin": "ITLC_CORS_ORIGIN",
    "MailSender": "ITLC_MAIL_SENDER",
    "CallerWrites": "ITLC_CALLER_WRITES",
    "AddressWrites": "ITLC_ADDRESS_WRITES",
    "PairFailures": "ITLC_PAIR_FAILURES",
    "AccountFailures": "ITLC_ACCOUNT_FAILURES",
    "AddressFailures": "ITLC_ADDRESS_FAILURES",
    "AccountResetMails": "ITLC_ACCOUNT_RESET_MAILS",
    "AddressResetMails": "ITLC_ADDRESS_RESET_MAILS",
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


@dataclass(frozen=True)
class Deployment:
    """Where what was deployed is reached: URLs, those of queues by the queues' names."""

    api_url: str
    docs_url: str
    queues: Mapping[str, str]
    dead_letter_queues: Mapping[str, str]


def describe(endpoints: Endpoints) -> Deployment | None:
    """What is deployed on the stack, None if nothing is (yet, or any more)."""
    found = _stack(aws_client(endpoints, "cloudformation"))
    return _deployment(endpoints, found) if found and found["StackStatus"] in STANDS else None


def deploy(endpoints: Endpoints, say: Say) -> Deployment:
    """Deploy what changed since the last time; `say` is called with one line of progress at a time.

    Raises StackError, with the reasons of the resources that failed, when it cannot be deployed or does not answer.
    """
    began = time.monotonic()
    try:
        wanted = _package(endpoints, say)
        cloudformation = aws_client(endpoints, "cloudformation")
        found = _stack(cloudformation)
        changed = False
        if found is None or found["StackStatus"] not in DONE or _tag(found) != wanted.fingerprint:
            changed = True
            say(f"deploying {wanted.functions} functions")
            _upload(endpoints, wanted)
            found = _apply(cloudformation, endpoints, wanted, found, say)
        deployment = _deployment(endpoints, found)
        _mend_api(aws_client(endpoints, "apigateway"), _outputs(found)["ApiId"], wanted)
        # Mails go nowhere from here, but only from a sender that is verified.
        aws_client(endpoints, "ses").verify_email_identity(EmailAddress=wanted.known["MailSender"])
        _see_that_it_answers(deployment)
    except (BotoCoreError, ClientError) as error:
        raise StackError(
            "deploy",
            f"the emulator refused: {error}",
            log=_log(endpoints),
            what_to_do="read the log's last lines; `itlc down` and `itlc up` begin with a fresh emulator",
        ) from error
    took = time.monotonic() - began
    say(f"deployed in {took:.1f} s" if changed else f"deployed: nothing has changed ({took:.1f} s)")
    return deployment


# What is to be deployed


@dataclass(frozen=True)
class _Wanted:
    """The template as it is handed over, its parameters, and the archives that it points to, by their keys."""

    template: dict[str, Any]
    parameters: dict[str, str]
    archives: dict[str, bytes]

    @property
    def body(self) -> bytes:
        return json.dumps(self.template, indent=1, sort_keys=True).encode()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.body + json.dumps(self.parameters, sort_keys=True).encode()).hexdigest()

    @property
    def known(self) -> dict[str, str]:
        """Every parameter's value, as it is given or by default."""
        defaults = {name: str(part.get("Default", "")) for name, part in self.template["Parameters"].items()}
        return {**defaults, **self.parameters}

    @property
    def functions(self) -> int:
        return len(template.functions(self.template))


def _package(endpoints: Endpoints, say: Say) -> _Wanted:
    docs_assets.lay_out(say)
    read = template.load()
    archives: dict[str, bytes] = {}
    packed: dict[str, str] = {}

    def pack(folder: str, prefix: str = "", inside: str = "") -> str:
        if folder not in packed:
            content = archive(ROOT / folder / inside, prefix)
            key = f"{folder.replace('/', '-')}-{hashlib.sha256(content).hexdigest()[:20]}.zip"
            archives[key] = content
            packed[folder] = f"s3://{BUCKET}/{key}"
        return packed[folder]

    for part in template.functions(read).values():
        part["Properties"]["CodeUri"] = pack(part["Properties"]["CodeUri"])
    layer = read["Resources"]["CoreLayer"]["Properties"]
    layer["ContentUri"] = pack(layer["ContentUri"], prefix="python/itlc", inside="itlc")
    # The emulator runs the functions with this environment's Python, which has the third-party packages already.
    del read["Resources"]["VendorLayer"]
    read["Globals"]["Function"]["Layers"] = [{"Ref": "CoreLayer"}]
    parameters = {
        **{f"{template.logical_id(name)}Secret": arn for name, arn in store_secrets(endpoints).items()},
        **LOCAL_PARAMETERS,
    }
    for name, spelling in SETTINGS.items():
        if value := os.environ.get(spelling):
            parameters[name] = value
    return _Wanted(read, parameters, archives)


def archive(folder: Path, prefix: str = "") -> bytes:
    """The files below `folder` as a zip, under `prefix`; the same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in _files(folder):
            name = "/".join(filter(None, (prefix, path.relative_to(folder).as_posix())))
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            packed.writestr(info, path.read_bytes())
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


# How it gets there


def _upload(endpoints: Endpoints, wanted: _Wanted) -> None:
    s3 = aws_client(endpoints, "s3")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    there = {item["Key"] for page in pages for item in page.get("Contents", [])}
    objects = {**wanted.archives, _template_key(wanted): wanted.body}
    for key in objects.keys() - there:
        s3.put_object(Bucket=BUCKET, Key=key, Body=objects[key])


def _template_key(wanted: _Wanted) -> str:
    return f"template-{hashlib.sha256(wanted.body).hexdigest()[:20]}.json"


def _apply(
    cloudformation: Any, endpoints: Endpoints, wanted: _Wanted, found: dict[str, Any] | None, say: Say
) -> dict[str, Any]:
    """Make or change the stack, and wait until it stands. Raises StackError when it does not come to stand."""
    request = {
        "StackName": STACK,
        "TemplateURL": f"{endpoints.aws_endpoint}/{BUCKET}/{_template_key(wanted)}",
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in wanted.parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": TAG, "Value": wanted.fingerprint}],
    }
    if found is not None and "ROLLBACK" in found["StackStatus"] and "UPDATE" not in found["StackStatus"]:
        # A stack whose making failed can only be made anew.
        cloudformation.delete_stack(StackName=STACK)
        _wait(cloudformation, say, until=lambda stack: stack is None)
        found = None
    if found is None:
        cloudformation.create_stack(**request)
    else:
        try:
            cloudformation.update_stack(**request)
        except ClientError as error:
            if NO_CHANGE in str(error):  # the last change was undone, and this is what was there before
                return found
            raise
    stack = _wait(cloudformation, say, until=lambda stack: stack is not None and _settled(stack))
    if stack is None or stack["StackStatus"] not in DONE:
        raise StackError(
            "deploy",
            "the stack could not be " + ("changed" if found else "made") + f":\n{_reasons(cloudformation)}",
            log=_log(endpoints),
            what_to_do="mend what the reasons name in template.yaml and deploy again; the stack is as it was before",
        )
    return stack


def _settled(stack: Mapping[str, Any]) -> bool:
    return not str(stack["StackStatus"]).endswith("_IN_PROGRESS")


def _wait(cloudformation: Any, say: Say, *, until: Callable[[dict[str, Any] | None], bool]) -> dict[str, Any] | None:
    began = said = time.monotonic()
    while True:
        stack = _stack(cloudformation)
        if until(stack):
            return stack
        now = time.monotonic()
        if now - began > PATIENCE_SECONDS:
            raise StackError(
                "deploy",
                f"the stack is not done after {PATIENCE_SECONDS} s:\n{_reasons(cloudformation)}",
                what_to_do="deploy again: what is there already is kept",
            )
        if now - said > 2:
            said = now
            pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
            count = sum(len(page["StackResourceSummaries"]) for page in pages)
            say(f"deploying: {count} resources so far")
        time.sleep(POLL_SECONDS)


def _stack(cloudformation: Any) -> dict[str, Any] | None:
    try:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if stack["StackStatus"] == "DELETE_COMPLETE" else stack


def _tag(stack: Mapping[str, Any]) -> str | None:
    return next((tag["Value"] for tag in stack.get("Tags", []) if tag["Key"] == TAG), None)


def _reasons(cloudformation: Any) -> str:
    """What went wrong with which resource, as the stack's events of the last attempt tell it."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=STACK)
    events = [event for page in pages for event in page["StackEvents"]]
    lines: list[str] = []
    for event in events:  # the latest come first
        if event["LogicalResourceId"] == STACK and event["ResourceStatus"] in (
            "CREATE_IN_PROGRESS",
            "UPDATE_IN_PROGRESS",
        ):
            break
        if "FAILED" in event["ResourceStatus"] and event.get("ResourceStatusReason"):
            lines.append(f"  {event['LogicalResourceId']}: {event['ResourceStatusReason']}")
    return "\n".join(lines[::-1]) or "  the events give no reason"


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])}


def _deployment(endpoints: Endpoints, stack: Mapping[str, Any]) -> Deployment:
    outputs = _outputs(stack)
    api_url = f"{endpoints.aws_endpoint}/_aws/execute-api/{outputs['ApiId']}/v1"

    def urls(ending: str) -> dict[str, str]:
        return {
            name.removesuffix(ending).lower(): url for name, url in sorted(outputs.items()) if name.endswith(ending)
        }

    return Deployment(api_url, f"{api_url}/docs", urls("QueueUrl"), urls("DeadLettersUrl"))


# What the emulator leaves out when it reads the API's definition


def _mend_api(apigateway: Any, api_id: str, wanted: _Wanted) -> None:
    """Give the API its gateway responses and the headers of its preflight answers, which the emulator's import drops;
    AWS has them from the template. Does nothing where they are."""
    if not apigateway.get_gateway_response(restApiId=api_id, responseType="UNAUTHORIZED").get("defaultResponse"):
        return
    known = wanted.known
    api = wanted.template["Resources"]["Api"]["Properties"]
    cors = {name: _text(value, known) for name, value in api["Cors"].items()}
    pages = apigateway.get_paginator("get_resources").paginate(restApiId=api_id, embed=["methods"])
    resources = [item for page in pages for item in page["items"] if "OPTIONS" in item.get("resourceMethods", {})]
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(_mend_preflight, apigateway, api_id, resource, cors) for resource in resources]
        for done in work:
            done.result()
    # Last, for their being there says that all of this was done.
    for kind, answer in sorted(api["GatewayResponses"].items()):
        headers = answer["ResponseParameters"]["Headers"]
        apigateway.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            statusCode=str(answer["StatusCode"]),
            responseParameters={f"gatewayresponse.header.{name}": _text(v, known) for name, v in headers.items()},
            responseTemplates=answer["ResponseTemplates"],
        )
    apigateway.create_deployment(restApiId=api_id, stageName="v1")


def _mend_preflight(apigateway: Any, api_id: str, resource: dict[str, Any], cors: dict[str, str]) -> None:
    headers = {
        "Access-Control-Allow-Origin": cors["AllowOrigin"],
        "Access-Control-Allow-Headers": cors["AllowHeaders"],
        "Access-Control-Allow-Methods": "'" + ",".join(sorted(resource["resourceMethods"])) + "'",
        "Access-Control-Max-Age": cors["MaxAge"],
    }
    at = {"restApiId": api_id, "resourceId": resource["id"], "httpMethod": "OPTIONS", "statusCode": "200"}
    named = {f"method.response.header.{name}": value for name, value in headers.items()}
    apigateway.put_method_response(**at, responseParameters=dict.fromkeys(named, True))
    apigateway.put_integration_response(**at, responseParameters=named, responseTemplates={"application/json": ""})


def _text(value: Any, parameters: Mapping[str, str]) -> str:
    """A template's string, with the parameters that a `!Sub` in it names."""
    if not isinstance(value, dict):
        return str(value)
    text = str(value["Fn::Sub"])
    for name, given in parameters.items():
        text = text.replace(f"${{{name}}}", str(given))
    return text


def _see_that_it_answers(deployment: Deployment) -> None:
    deadline = time.monotonic() + ANSWERS_WITHIN_SECONDS
    last = "nothing"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{deployment.api_url}/health", timeout=10)
            if answer.status_code == 200:
                return
            last = f"{answer.status_code} {answer.text[:500]}"
        except httpx.HTTPError as error:
            last = str(error)
        time.sleep(POLL_SECONDS)
    raise StackError(
        "deploy",
        f"{deployment.api_url}/health answered {last}",
        what_to_do="see what the function logged: `itlc logs show_health`",
    )


def _log(endpoints: Endpoints) -> Path | None:
    log = endpoints.state_dir / "logs" / "aws.log"
    return log if log.is_file() else None
