"""The template says of each function what its operation needs: no more, no less, nothing forgotten."""

import re
from datetime import timedelta
from typing import Any

import pytest
from itlc.settings import QUEUES, Settings
from itlc.stores.circuit import ANSWER_SECONDS
from itlc.stores.keys import LONGEST_RUN
from itlc.system import purge
from itlc.wallet.under_key import AT_ONCE

from infra.local import template
from infra.local.operations import FUNCTIONS, Found, load_operations
from infra.local.reach import EVERY_QUEUE, ROOT

STORES = ("users", "api", "orders", "tokens", "templates", "mongodb", "neo4j")
KEYS = ("sessions", "cursors", "pseudonyms")
SECRETS = (*STORES, *KEYS)
GATEWAY_SECONDS = 29
"""So long API Gateway waits for a function."""
GATEWAY_HEADERS = {
    "Content-Type",
    "X-Request-Id",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Cache-Control",
}


@pytest.fixture(scope="module")
def operations() -> list[Found]:
    return load_operations()


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    return template.load()


def test_each_operation_has_its_function_and_each_function_its_operation(
    read: dict[str, Any], operations: list[Found]
) -> None:
    wrong = template.differences(read, operations)
    assert not wrong, "\n\n".join(wrong)


def test_a_missing_and_a_wrong_entry_are_named_with_the_lines_to_paste(
    read: dict[str, Any], operations: list[Found]
) -> None:
    resources = dict(read["Resources"])
    publish = resources.pop("PublishService")
    listing = {**resources["ListServices"]["Properties"], "Policies": [{"Ref": "ReadsUsers"}]}
    resources["ListServices"] = {**resources["ListServices"], "Properties": listing}
    resources["Stranger"] = publish
    wrong = "\n".join(template.differences({"Resources": resources}, operations))
    assert "Stranger has no operation" in wrong
    assert "template.yaml lacks PublishService" in wrong
    assert "      Handler: publish_service.app" in wrong
    assert "ListServices is not as its operation says" in wrong
    assert "Policies: [!Ref ReadsApi, !Ref ReadsCursors]" in wrong


def test_functions_stand_in_the_order_of_their_folders(read: dict[str, Any], operations: list[Found]) -> None:
    expected = [template.logical_id(found.app.name) for found in operations]
    assert list(template.functions(read)) == expected, "sort the entries by domain and name"


def test_public_routes_and_no_others_go_without_the_authorizer(read: dict[str, Any], operations: list[Found]) -> None:
    functions = template.functions(read)
    for found in operations:
        if found.app.route_spec is None:
            continue
        call = functions[template.logical_id(found.app.name)]["Properties"]["Events"]["Call"]["Properties"]
        public = call.get("Auth", {}).get("Authorizer") == "NONE"
        assert public == (found.app.route_spec.allow == "anyone"), found.app.name
    assert read["Resources"]["Api"]["Properties"]["Auth"]["DefaultAuthorizer"] == "AccessToken"
    assert read["Resources"]["Api"]["Properties"]["Auth"]["AddDefaultAuthorizerToCorsPreflight"] is False


def test_each_queue_has_a_consumer_a_dead_letter_queue_and_time_enough(
    read: dict[str, Any], operations: list[Found]
) -> None:
    resources = read["Resources"]
    queues = {name for name, part in resources.items() if part["Type"] == "AWS::SQS::Queue"}
    wanted = {f"{template.logical_id(name)}{kind}" for name in QUEUES for kind in ("Queue", "DeadLetters")}
    lacking = [name for name in QUEUES if f"{template.logical_id(name)}Queue" not in queues]
    assert not lacking, "template.yaml lacks queues; paste:\n\n" + "\n".join(map(template.queue_entries, lacking))
    assert queues == wanted
    consumers = {found.app.queue: found.app.name for found in operations if found.app.queue}
    usual = read["Globals"]["Function"]["Timeout"]
    for name in QUEUES:
        properties = resources[f"{template.logical_id(name)}Queue"]["Properties"]
        assert properties["RedrivePolicy"]["maxReceiveCount"] >= 5
        target = properties["RedrivePolicy"]["deadLetterTargetArn"]
        assert target == {"Fn::GetAtt": [f"{template.logical_id(name)}DeadLetters", "Arn"]}
        kept = [properties, resources[f"{template.logical_id(name)}DeadLetters"]["Properties"]]
        assert [timedelta(seconds=queue["MessageRetentionPeriod"]) for queue in kept] == [timedelta(days=14)] * 2
        assert 2 * timedelta(days=14) < purge.RECEIVED_KEPT, "an inbox remembers what can come again"
        if name in consumers:
            function = template.functions(read)[template.logical_id(consumers[name])]["Properties"]
            assert properties["VisibilityTimeout"] >= 6 * function.get("Timeout", usual), name
    assert consumers.keys() <= set(QUEUES)


@pytest.mark.parametrize("name", ["pay_order", "pay_project", "refund_order"])
def test_a_request_that_begins_work_answers_before_its_function_or_the_gateway_is_out_of_time(
    read: dict[str, Any], name: str
) -> None:
    seconds = template.functions(read)[template.logical_id(name)]["Properties"]["Timeout"]
    assert AT_ONCE.owed_seconds + 2 * ANSWER_SECONDS < seconds < GATEWAY_SECONDS
    assert timedelta(seconds=seconds) == LONGEST_RUN


def test_a_person_is_erased_in_all_the_time_of_a_function(read: dict[str, Any]) -> None:
    """A batch has its function's time once, and what is left of it then is tried again from the beginning."""
    (source,) = template.functions(read)["EraseUser"]["Properties"]["Events"].values()
    assert source["Properties"]["BatchSize"] == 1


def test_each_queue_is_watched() -> None:
    for name in ("alarms", "dashboard"):
        watched = template.load(ROOT / "infra" / "aws" / f"{name}.yaml")
        parameters = {name for name in watched["Parameters"] if name.endswith(("Queue", "DeadLetters"))}
        assert parameters == {f"{template.logical_id(q)}{kind}" for q in QUEUES for kind in ("Queue", "DeadLetters")}
        if name == "alarms":
            assert {f"{template.logical_id(q)}{kind}" for q in QUEUES for kind in ("Dead", "Stuck")} <= watched[
                "Resources"
            ].keys()


def watched(alarm: dict[str, Any]) -> set[tuple[str, str]]:
    """The metrics of ITLC's own that an alarm looks at, each with the operation that tells it."""
    properties = alarm["Properties"]
    metrics = [part["MetricStat"]["Metric"] for part in properties.get("Metrics", ()) if "MetricStat" in part]
    return {
        (dimension["Value"], metric["MetricName"])
        for metric in (metrics or [properties])
        if metric["Namespace"] == "ITLC"
        for dimension in metric["Dimensions"]
    }


def test_each_job_is_watched_and_reconciliation_each_time(operations: list[Found]) -> None:
    resources = template.load(ROOT / "infra" / "aws" / "alarms.yaml")["Resources"]
    alarms = [part for part in resources.values() if part["Type"] == "AWS::CloudWatch::Alarm"]
    jobs = {found.app.name for found in operations if found.app.kind == "schedule"}
    quiet = [watched(alarm) for alarm in alarms if alarm["Properties"]["TreatMissingData"] == "breaching"]
    assert {frozenset(metrics) for metrics in quiet} == {frozenset({(job, "Calls"), (job, "Errors")}) for job in jobs}
    (failed,) = [alarm for alarm in alarms if watched(alarm) == {("reconcile", "Errors")}]
    told = failed["Properties"]
    assert (told["Threshold"], told["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert told["DatapointsToAlarm"] == 1


def test_somebody_is_told_when_a_message_is_put_off() -> None:
    resources = template.load(ROOT / "infra" / "aws" / "alarms.yaml")["Resources"]
    told = resources["MessagesPutOff"]["Properties"]
    assert watched(resources["MessagesPutOff"]) == {("queues", "PutOff")}
    assert (told["Threshold"], told["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert told["EvaluationPeriods"] == 1


def test_the_lines_for_a_queue_are_those_of_the_template() -> None:
    text = template.TEMPLATE.read_text(encoding="utf-8")
    for part in template.queue_entries("topups").split("\n\n"):
        lines = [line for line in part.strip("\n").splitlines() if not line.startswith("#")]
        resource = any(line.startswith("    Type:") for line in lines)
        for whole in ["\n".join(lines)] if resource else lines:
            assert whole in text, part


def test_each_queue_that_is_sent_to_is_consumed(operations: list[Found]) -> None:
    consumed = {found.app.queue for found in operations if found.app.queue}
    sent = {queue for found in operations for queue in found.reach.queues} - {EVERY_QUEUE}
    assert sent <= set(QUEUES)
    assert sent <= consumed, f"nobody consumes {sorted(sent - consumed)}"


def test_jobs_run_on_a_schedule(read: dict[str, Any], operations: list[Found]) -> None:
    scheduled = {found.app.name for found in operations if found.app.kind == "schedule"}
    assert {"relay_outbox", "purge_expired"} <= scheduled
    for name in scheduled:
        properties = template.functions(read)[template.logical_id(name)]["Properties"]
        (event,) = properties["Events"].values()
        assert re.fullmatch(r"(rate|cron)\(.+\)", event["Properties"]["Schedule"]), name
        assert properties["Timeout"] >= 30, f"{name} works in batches: give it time for more than one"


def test_every_function_gets_its_settings(read: dict[str, Any]) -> None:
    variables = read["Globals"]["Function"]["Environment"]["Variables"]
    for name in SECRETS:
        assert variables[f"ITLC_SECRET_{name.upper()}"] == {"Ref": f"{template.logical_id(name)}Secret"}
    for name in QUEUES:
        assert variables[f"ITLC_QUEUE_{name.upper()}"] == {"Ref": f"{template.logical_id(name)}Queue"}
        assert variables[f"ITLC_DLQ_{name.upper()}"] == {"Ref": f"{template.logical_id(name)}DeadLetters"}
    known = {f"ITLC_{name.upper()}" for name in Settings.__dataclass_fields__}
    others = {name for name in variables if not name.startswith(("ITLC_SECRET_", "ITLC_QUEUE_", "ITLC_DLQ_"))}
    assert others <= known, f"no settings: {sorted(others - known)}"


def test_a_policy_gives_what_its_name_says(read: dict[str, Any]) -> None:
    """One action, on the secret or queue of its name."""

    def secret(name: str) -> Any:
        return {"Ref": f"{template.logical_id(name)}Secret"}

    def queue(name: str, kind: str) -> Any:
        return {"Fn::GetAtt": [f"{template.logical_id(name)}{kind}", "Arn"]}

    reads, sends = "secretsmanager:GetSecretValue", "sqs:SendMessage*"
    looks = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    expected: dict[str, tuple[Any, Any]] = {
        **{f"Reads{template.logical_id(name)}": (reads, secret(name)) for name in SECRETS},
        **{f"Sends{template.logical_id(name)}": (sends, queue(name, "Queue")) for name in QUEUES},
        **{f"Buries{template.logical_id(name)}": (sends, queue(name, "DeadLetters")) for name in QUEUES},
        "ReadsEveryStore": (reads, [secret(name) for name in STORES]),
        "SendsToEveryQueue": (sends, [queue(name, "Queue") for name in QUEUES]),
        "ReadsDeadLetters": (looks, [queue(name, "DeadLetters") for name in QUEUES]),
        "SeesEveryQueue": ("sqs:GetQueueAttributes", [queue(name, "Queue") for name in QUEUES]),
    }
    found = {name: part for name, part in read["Resources"].items() if part["Type"] == "AWS::IAM::ManagedPolicy"}
    assert found.keys() == expected.keys() | {"SendsEmail"}
    for name, (action, resource) in expected.items():
        (statement,) = found[name]["Properties"]["PolicyDocument"]["Statement"]
        assert statement == {"Effect": "Allow", "Action": action, "Resource": resource}, name


def test_no_function_has_more_policies_than_a_role_takes(operations: list[Found]) -> None:
    for found in operations:
        needed = template.policies(found)
        assert len(needed) <= template.MOST_POLICIES, f"{found.app.name} needs {needed}"


def test_what_the_gateway_answers_itself_is_a_problem_with_the_headers_of_all(read: dict[str, Any]) -> None:
    answers = read["Resources"]["Api"]["Properties"]["GatewayResponses"]
    assert {"UNAUTHORIZED", "ACCESS_DENIED", "MISSING_AUTHENTICATION_TOKEN", "THROTTLED"} <= answers.keys()
    assert {"REQUEST_TOO_LARGE", "DEFAULT_4XX", "DEFAULT_5XX"} <= answers.keys()
    for name, answer in answers.items():
        headers = answer["ResponseParameters"]["Headers"]
        assert headers.keys() >= GATEWAY_HEADERS, name
        assert headers["Content-Type"] == "'application/problem+json'"
        assert (answer["StatusCode"] in (429, 503)) == ("Retry-After" in headers), name
        body = answer["ResponseTemplates"]["application/json"]
        assert f'"status": {answer["StatusCode"]},' in body, name
        assert '"instance": "$context.requestId"' in body, name


def test_each_domain_has_its_log_group(read: dict[str, Any]) -> None:
    groups = {name for name, part in read["Resources"].items() if part["Type"] == "AWS::Logs::LogGroup"}
    domains = {path.name for path in FUNCTIONS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert groups == {f"{template.logical_id(domain)}Logs" for domain in domains}


def test_the_layers_are_built_by_their_makefiles(read: dict[str, Any]) -> None:
    for name in ("CoreLayer", "VendorLayer"):
        layer = read["Resources"][name]
        makefile = ROOT / layer["Properties"]["ContentUri"] / "Makefile"
        assert layer["Metadata"]["BuildMethod"] == "makefile"
        assert f"\nbuild-{name}:\n" in makefile.read_text(encoding="utf-8")
