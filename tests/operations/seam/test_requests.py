"""What the seam does for every operation, shown on a few of the catalogue's, on real stores."""

import time
import uuid
from functools import partial
from typing import Any

import pytest
from itlc.catalog import repository
from itlc.stores import postgres
from itlc.stores.circuit import Circuit
from sqlalchemy import create_engine

from tests.support.calling import As, Context, Response, nobody, operation
from tests.support.racing import at_once
from tests.support.stack import Stores

SERVICE = {"name": "Gardening", "description": "Hedges, lawns, roses."}
REQUEST_ID = "0190f5a8-6f1e-7cc4-9d5e-0b6f6f1c2a77"
ada = As(1)


@pytest.fixture(autouse=True)
def ada_provides(stores: Stores) -> int:
    """Ada is a provider."""
    added = partial(repository.add_provider, user_id=1, name="Ada", email="ada@example.org")
    return int(postgres.catalog.write(added).id)


def publish(key: str) -> Response:
    """Ada publishes the service under a key."""
    return ada.call("publish_service", SERVICE, key=key)


def test_of_twenty_requests_with_one_key_one_takes_effect(stores: Stores) -> None:
    answers = at_once(publish, [("one key",)] * 20)
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {201, 409}
    assert len({answer.text for answer in answers if answer.status == 201}) == 1
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 409)
    assert len(stores.rows("itlc_api", "SELECT * FROM services")) == 1


def test_a_refusal_is_remembered_under_its_key(stores: Stores) -> None:
    body = {"name": "From a template", "description": "…", "template_id": 7}
    first = ada.call("publish_service", body, key="k")
    assert first.status == 422
    stores.rows(
        "itlc_templates", "INSERT INTO template_store (id, name, description, type) VALUES (7, 'a', 'b', 'service')"
    )
    again = ada.call("publish_service", body, key="k")
    assert (again.status, again.headers["Idempotency-Replayed"], again.text) == (422, "true", first.text)
    assert ada.call("publish_service", body, key="another").status == 201


def test_a_key_belongs_to_its_caller_and_lives_a_day(stores: Stores) -> None:
    postgres.catalog.write(partial(repository.add_provider, user_id=2, name="Bob", email="bob@example.org"))
    first = publish("k")
    assert As(2).call("publish_service", SERVICE, key="k")["id"] != first["id"]
    stores.rows("itlc_api", "UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
    assert publish("k")["id"] not in (first["id"], None)


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "a\tb"])
def test_a_malformed_key_is_refused(stores: Stores, key: str) -> None:
    answer = ada.call("publish_service", SERVICE, headers={"Idempotency-Key": key})
    assert answer.status == 400
    assert stores.rows("itlc_api", "SELECT * FROM services") == []


@pytest.mark.parametrize("given", [REQUEST_ID, REQUEST_ID.upper(), str(uuid.UUID(int=0))])
def test_a_request_id_that_is_a_uuid_is_kept_to_the_letter(given: str) -> None:
    assert nobody.call("list_services", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["mine", REQUEST_ID.replace("-", ""), REQUEST_ID.replace("-", "") + "----", "0" * 36])
def test_a_request_id_that_is_no_uuid_is_replaced(given: str) -> None:
    made = nobody.call("list_services", headers={"X-Request-Id": given}).headers["X-Request-Id"]
    assert uuid.UUID(made).version == 4
    assert made != given


def test_errors_carry_the_request_id_and_cors() -> None:
    answer = nobody.call("publish_service", SERVICE)
    assert answer.status == 401
    assert answer["instance"] == answer.headers["X-Request-Id"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


def test_a_list_takes_only_its_own_parameters() -> None:
    for query in ({"colour": "red"}, {"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}, {"limit": [1, 2]}):
        answer = nobody.call("list_services", query=query)
        assert answer.status == 422, query
        assert answer["errors"][0]["field"] in query


@pytest.mark.parametrize(
    "written", ["", "0", "101", "-1", "+5", " 5", "5 ", "5.0", "1_0", "1e1", "0x5", "\uff15", "many"]
)
def test_a_whole_number_in_a_query_is_written_in_digits(stores: Stores, written: str) -> None:
    assert nobody.call("list_services", query={"limit": written}).status == 422
    if written != "101":
        answer = nobody.call("list_services", query={"provider_id": written})
        assert (answer.status, answer["errors"][0]["field"]) == (422, "provider_id")
    assert nobody.call("list_services", query={"limit": "100", "provider_id": "7"}).status == 200


def test_a_token_that_has_expired_since_is_refused() -> None:
    app = operation("publish_service")
    event: dict[str, Any] = {
        "headers": {},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": "{}",
        "requestContext": {
            "resourcePath": "/services",
            "httpMethod": "POST",
            "authorizer": {
                "user_id": "1",
                "session_id": str(uuid.uuid4()),
                "is_admin": "false",
                "expires_at": str(int(time.time()) - 1),
            },
        },
    }
    assert app(event, Context())["statusCode"] == 401


def test_what_breaks_inside_is_500_and_says_nothing_of_it(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> None:
    def break_down(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(repository, "add_service", break_down)
    answer = publish("k")
    assert answer.status == 500
    assert "secret" not in answer.text
    monkeypatch.undo()
    assert publish("k").status == 201, "a 5xx leaves nothing under the key"


def test_a_store_that_is_away_is_503_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = postgres.Database("itlc_api", "api")
    lost.__dict__["circuit"] = Circuit(postgres.is_down)  # its own, for the real server is well
    lost.__dict__["engine"] = create_engine("postgresql+pg8000://nobody@127.0.0.1:1/none", connect_args={"timeout": 1})
    monkeypatch.setattr(postgres, "catalog", lost)
    answer = nobody.call("list_services")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    monkeypatch.undo()
    assert nobody.call("list_services").status == 200


def test_a_connection_that_died_is_replaced(stores: Stores) -> None:
    assert nobody.call("list_services").status == 200
    assert stores.disconnect("itlc_api_app") >= 1
    assert publish("k").status == 201
