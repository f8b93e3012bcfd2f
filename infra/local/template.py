"""`template.yaml`, read; and what it has to say of an operation, in its own lines.

Nothing here writes the template: an operation's entry is pasted by hand, and a contract test says which is missing or
differs, with the lines to paste.
"""

from pathlib import Path
from typing import Any

import yaml

from infra.local.operations import Found
from infra.local.reach import EVERY_QUEUE, ROOT, STORES

TEMPLATE = ROOT / "template.yaml"
DEFAULT_RATE = "rate(1 hour)"
DEFAULT_BATCH = 10
# A role takes ten managed policies; SAM attaches those for logs, traces and the network itself.
MOST_POLICIES = 7
_EVERY_STORE = frozenset().union(*STORES.values())


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms (`!Ref`, `!GetAtt`, `!Sub` …), as the long ones that JSON knows."""


def _long_form(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _long_form)


def load(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template, with every short form spelled out."""
    template: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 # nosec B506 - a SafeLoader
    return template


def functions(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The functions of a template, by logical id."""
    resources: dict[str, dict[str, Any]] = template["Resources"]
    return {name: part for name, part in resources.items() if part["Type"] == "AWS::Serverless::Function"}


def logical_id(name: str) -> str:
    """How the template names an operation: `publish_service` is `PublishService`."""
    return name.title().replace("_", "")


def policies(operation: Found) -> list[str]:
    """The template's policies that an operation needs, by logical id."""
    reach, app = operation.reach, operation.app
    secrets = set(reach.secrets)
    needed = []
    if secrets >= _EVERY_STORE:
        needed.append("ReadsEveryStore")
        secrets -= _EVERY_STORE
    needed += sorted(f"Reads{logical_id(secret)}" for secret in secrets)
    if EVERY_QUEUE in reach.queues:
        needed.append("SendsToEveryQueue")
    else:
        own = {app.queue} if app.kind == "queue" and app.queue else set()  # for what is put off
        needed += sorted(f"Sends{logical_id(queue)}" for queue in reach.queues | own)
    if app.kind == "queue" and app.queue:
        needed.append(f"Buries{logical_id(app.queue)}")
    if "ses" in reach.services:
        needed.append("SendsEmail")
    if app.name == "show_readiness":
        needed.append("SeesEveryQueue")
    if app.name in ("reconcile", "run_reconciliation"):
        needed.append("ReadsDeadLetters")
    return needed


def entry(
    operation: Found, *, rate: str = DEFAULT_RATE, batch: int = DEFAULT_BATCH, extra: tuple[str, ...] = ()
) -> str:
    """The lines of `template.yaml` for an operation; `extra` lines (a larger memory, say) go behind the handler."""
    app, domain = operation.app, operation.domain
    lines = [
        f"  {logical_id(app.name)}:",
        "    Type: AWS::Serverless::Function",
        "    Properties:",
        f"      CodeUri: functions/{domain}",
        f"      Handler: {app.name}.app",
        *(f"      {line}" for line in extra),
        f"      LoggingConfig: {{LogGroup: !Ref {logical_id(domain)}Logs}}",
    ]
    if needed := policies(operation):
        lines.append(f"      Policies: [{', '.join(f'!Ref {name}' for name in needed)}]")
    match app.kind:
        case "route" if app.route_spec is not None:
            route = app.route_spec
            public = ", Auth: {Authorizer: NONE}" if route.allow == "anyone" else ""
            where = f"RestApiId: !Ref Api, Path: {_quoted(route.path)}, Method: {route.method.lower()}{public}"
            lines += ["      Events:", f"        Call: {{Type: Api, Properties: {{{where}}}}}"]
        case "queue" if app.queue:
            source = f"Queue: !GetAtt {logical_id(app.queue)}Queue.Arn, BatchSize: {batch}"
            answers = "FunctionResponseTypes: [ReportBatchItemFailures]"
            lines += ["      Events:", "        Messages:", "          Type: SQS"]
            lines.append(f"          Properties: {{{source}, {answers}}}")
        case "schedule":
            when = f'"{rate}"' if "?" in rate else rate  # a question mark means something in YAML
            lines += ["      Events:", f"        Clock: {{Type: Schedule, Properties: {{Schedule: {when}}}}}"]
        case _:
            pass
    return "\n".join(lines)


def queue_entries(name: str) -> str:
    """The lines of `template.yaml` for a queue of `itlc.settings.QUEUES`, under the names of their sections."""
    queue, dead = f"{logical_id(name)}Queue", f"{logical_id(name)}DeadLetters"

    def policy(policy: str, action: str, of: str) -> str:
        statement = f"{{Effect: Allow, Action: {action}, Resource: !GetAtt {of}.Arn}}"
        return f"""  {policy}:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{statement}]
"""

    return f"""# Globals, Environment, Variables:
        ITLC_QUEUE_{name.upper()}: !Ref {queue}
        ITLC_DLQ_{name.upper()}: !Ref {dead}

# Resources, Queues (VisibilityTimeout: at least six times the time limit of its consumer):
  {queue}:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      MessageRetentionPeriod: 1209600
      SqsManagedSseEnabled: true
      RedrivePolicy: {{deadLetterTargetArn: !GetAtt {dead}.Arn, maxReceiveCount: 5}}

  {dead}:
    Type: AWS::SQS::Queue
    Properties: {{MessageRetentionPeriod: 1209600, SqsManagedSseEnabled: true}}

# Resources, What a function may be given:
{policy(f"Sends{logical_id(name)}", "sqs:SendMessage*", queue)}
{policy(f"Buries{logical_id(name)}", "sqs:SendMessage*", dead)}
# In SendsToEveryQueue and in SeesEveryQueue, in the order of QUEUES:
              - !GetAtt {queue}.Arn

# Outputs:
  {queue}Url: {{Value: !Ref {queue}}}
  {dead}Url: {{Value: !Ref {dead}}}

# And its two parameters and alarms in infra/aws/alarms.yaml, its parameters and lines in infra/aws/dashboard.yaml.
"""


def _quoted(path: str) -> str:
    return f'"{path}"' if "{" in path else path


def differences(template: dict[str, Any], operations: list[Found]) -> list[str]:
    """What the template and the operations do not agree on, each with what to do about it; empty when they agree."""
    found = functions(template)
    wrong = []
    expected = {logical_id(operation.app.name): operation for operation in operations}
    for name in sorted(found.keys() - expected.keys()):
        wrong.append(f"template.yaml: {name} has no operation: remove it, or name the file's operation as it is called")
    for name, operation in expected.items():
        have = found.get(name)
        if have is None:
            wrong.append(f"template.yaml lacks {name}; paste into its domain's place:\n\n{entry(operation)}\n")
            continue
        rate, batch, extra = _own_choices(have["Properties"])
        lines = entry(operation, rate=rate, batch=batch, extra=extra)
        wanted = yaml.load(lines, Loader=_Loader)  # noqa: S506 # nosec B506 - a SafeLoader
        if {name: have} != wanted:
            wrong.append(f"template.yaml: {name} is not as its operation says; it should read:\n\n{lines}\n")
    return wrong


def _own_choices(properties: dict[str, Any]) -> tuple[str, int, tuple[str, ...]]:
    """What only the template says of a function: a schedule's rate, how many messages it gets at once, memory, time
    limit, concurrency."""
    rate, batch = DEFAULT_RATE, DEFAULT_BATCH
    for event in properties.get("Events", {}).values():
        rate = event.get("Properties", {}).get("Schedule", rate)
        batch = event.get("Properties", {}).get("BatchSize", batch)
    own = ("MemorySize", "Timeout", "ReservedConcurrentExecutions")
    return rate, batch, tuple(f"{name}: {properties[name]}" for name in own if name in properties)
