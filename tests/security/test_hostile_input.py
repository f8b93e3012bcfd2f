"""What nobody sends by mistake: it is refused with a reason, or stored and given back to the letter; never a 500."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from itlc.stores import postgres

from tests.support.calling import As, Response, nobody, operations
from tests.support.market import member, order_in, provider_of, service_of
from tests.support.people import PASSWORD, person
from tests.support.stack import Stores

ODD = {
    "NUL": "a\x00b",
    "escape": "a\x1b[31mb",
    "delete": "a\x7fb",
    "C1 control": "a\x85b",
    "right-to-left override": "a\u202eb",
    "isolate": "a\u2066b",
}
HARMLESS = 'Zoë 🌻 \U0001f469\u200d\U0001f33e 𠜎 e\u0301 \' " \\ ; -- $where {"$gt": 1} <script>%s{0}</script>'
STEP = {"requirements": "", "notified_personnel": [], "depends_on": []}


@pytest.fixture
def ada(stores: Stores) -> As:
    """A provider."""
    somebody = member("Ada")
    provider_of(somebody)
    return somebody


def is_problem(answer: Response, *statuses: int) -> None:
    """It is refused with one of these statuses, as a problem that quotes none of our insides."""
    assert answer.status in statuses, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    for inside in ("Traceback", "sqlalchemy", "psycopg", "pymongo", "neo4j", "pydantic"):
        assert inside not in answer.text


# What is stored in each of the seven stores, and where it is given back.
Keeps = Callable[[Stores, str], str]


def _in_users(stores: Stores, text: str) -> str:
    ada = person("Ada")
    assert ada.call("change_me", {"name": text}).status == 200
    return str(ada.call("read_me")["name"])


def _in_api(stores: Stores, text: str) -> str:
    ada = member("Ada")
    provider_of(ada)
    made = ada.call("publish_service", {"name": text, "description": text})
    assert made.status == 201, made.text
    return str(nobody.call("read_service", service_id=made["id"])["description"])


def _in_orders(stores: Stores, text: str) -> str:
    ada, bob = member("Ada"), member("Bob")
    made = bob.call("place_bid", {"amount": "1.00", "message": text}, service_id=service_of(ada))
    assert made.status == 201, made.text
    return str(bob.call("read_bid", bid_id=made["id"])["message"])


def _in_templates(stores: Stores, text: str) -> str:
    admin = person("Ada", admin=True)
    made = admin.call("keep_template", {"name": text, "description": text, "type": "project"})
    assert made.status == 201, made.text
    return str(nobody.call("read_template", template_id=made["id"])["name"])


def _in_mongodb(stores: Stores, text: str) -> str:
    ada = member("Ada")
    made = ada.call("create_project", {"name": text, "description": text}, key=json.dumps(text)[:200])
    assert made.status == 201, made.text
    return str(ada.call("read_project", project_id=made["id"])["description"])


def _in_neo4j(stores: Stores, text: str) -> str:
    ada, bob = member("Ada"), member("Bob")
    order_id = order_in("created", bob, ada)
    made = ada.call("define_plan", [{"step_number": 1, "description": text, **STEP}], order_id=order_id)
    assert made.status == 200, made.text
    return str(bob.call("list_steps", order_id=order_id)["items"][0]["description"])


KEEPS: dict[str, Keeps] = {
    "itlc_users": _in_users,
    "itlc_api": _in_api,
    "itlc_orders": _in_orders,
    "itlc_templates": _in_templates,
    "itlc_pbfr": _in_mongodb,
    "neo4j": _in_neo4j,
}


@pytest.mark.parametrize("store", KEEPS)
def test_every_store_gives_back_to_the_letter_what_it_was_given(stores: Stores, store: str) -> None:
    assert KEEPS[store](stores, HARMLESS) == HARMLESS


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_control_characters_are_refused_and_named(ada: As, text: str) -> None:
    for name, body in (
        ("create_project", {"name": "Garden", "description": text}),
        ("publish_service", {"name": text, "description": "x"}),
        ("write_blog", {"title": "x", "content": text}),
        ("become_provider", {"name": text}),
    ):
        answer = ada.call(name, body)
        is_problem(answer, 422)
        assert "control character U+" in answer["errors"][0]["message"]
    is_problem(nobody.call("list_services", query={"q": text}), 422)
    email = nobody.call("register_user", {"name": "A", "email": f"{text}@example.org", "password": PASSWORD})
    is_problem(email, 422)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name": "\\ud800", "description": "x"}',
        b'{"name": "x", "description": "\\udc00\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"name": "\xed\xa0\x80", "description": "x"}',
        b"\xef\xbb\xbf{}",
        b'{"name": 1e400}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": NaN}',
        b"{'name': 'x'}",
        b'{"name": "x",}',
        b"[" * 21 + b"]" * 21,
        b"[" * 200_000,
        b'{"a":' * 50_000,
        b"null",
        b'"x"',
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_what_is_no_good_json_is_refused(ada: As, raw: bytes) -> None:
    answer = ada.call("create_project", raw=raw.decode("utf-8", "surrogateescape")) if b"\xed" not in raw else None
    if answer is None:  # such bytes come through the gateway in base64 only
        import base64

        answer = ada.call("create_project", raw=base64.b64encode(raw).decode(), base64=True)
    is_problem(answer, 400, 422)


@pytest.mark.parametrize("name", sorted(n for n, app in operations().items() if app.route_spec))
@pytest.mark.parametrize(
    "text",
    [
        "\x00",
        "0",
        "-1",
        "1.0",
        "1e3",
        "\u0661",
        "\uff11",
        "2147483648",
        "9" * 5000,
        "' OR 1=1 --",
        "..",
        "{$ne}",
        "\ud800",
    ],
)
def test_what_cannot_be_an_id_is_not_found(all_stores: Stores, name: str, text: str) -> None:
    spec = operations()[name].route_spec
    assert spec is not None
    ids: dict[str, Any] = {part[1:-1]: text for part in spec.path.split("/") if part.startswith("{")}
    if not ids:
        return
    answer = As(999_999).call(name, {"new_password": PASSWORD} if "token" in ids else None, **ids)
    is_problem(answer, 404, 401, 403, 400)  # 401: asks for a session that lives; 403: for a provider; 400: for a key


@pytest.mark.parametrize("name", sorted(n for n, app in operations().items() if app.route_spec))
def test_unknown_and_repeated_parameters_are_refused(all_stores: Stores, name: str) -> None:
    spec = operations()[name].route_spec
    assert spec is not None
    if spec.allow in ("provider", "admin") or spec.live_session or spec.key == "required" or spec.accepts:
        return  # something else is asked for first
    ids: dict[str, Any] = {
        part[1:-1]: {int: 1, str: "665f1f77bcf86cd799439011"}.get(
            spec.path_kinds.get(part[1:-1], str), "018f3f6e-7b1a-7cc1-9d3e-0a1b2c3d4e5f"
        )
        for part in spec.path.split("/")
        if part.startswith("{")
    }
    unknown = As(999_999).call(name, query={"colour": "red"}, **ids)
    is_problem(unknown, 422)
    assert unknown["errors"] == [{"field": "colour", "message": "is not a field of this operation"}]
    again = As(999_999).call(name, query={"limit": ["1", "2"]}, **ids)
    is_problem(again, 422)
    assert again["errors"] == [{"field": "limit", "message": "is given more than once"}]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "\uff11"},
        {"limit": "9" * 5000},
        {"limit": "-1"},
        {"limit": "1;DROP"},
        {"limit": ""},
        {"q": ""},
        {"q": " "},
        {"q": "x" * 201},
        {"q": "\ud800"},
        {"provider_id": "0"},
        {"provider_id": "2147483648"},
        {"cursor": "\x00"},
        {"cursor": "x" * 2000},
        {"cursor": "é"},
        {"cursor": "\ud800"},
        {"sort": "newest\x00"},
        {"\x00": "1"},
        {"q[$ne]": "1"},
    ],
    ids=repr,
)
def test_hostile_queries_are_refused_by_name(all_stores: Stores, query: dict[str, str]) -> None:
    answer = nobody.call("list_services", query=query)
    is_problem(answer, 422)
    assert answer["errors"][0]["field"] in query


@pytest.mark.parametrize("q", ["%", "_", "'", '"', "\\", "a & | ! :*", "(((", "$where", "🌻", "<->"])
def test_words_are_words_whatever_they_mean_elsewhere(ada: As, q: str) -> None:
    service_of(ada)
    assert nobody.call("list_services", query={"q": q}).status == 200
    assert nobody.call("list_blogs", query={"q": q}).status == 200
    assert nobody.call("list_templates", query={"q": q}).status == 200


@pytest.mark.parametrize(
    "value", ["x\r\nSet-Cookie: a=b", "x\ny", "\x00", "x" * 10_000, "0" * 36, "{" + "0" * 34 + "}"]
)
def test_a_header_brings_no_other_into_the_response(ada: As, value: str) -> None:
    answer = ada.call("list_projects", headers={"X-Request-Id": value})
    assert answer.status == 200
    assert value not in answer.headers.values()
    assert not any("\r" in text or "\n" in text for text in answer.headers.values())
    body = {"name": "Garden", "description": "Roses."}
    if value.isascii() and value.isprintable() and len(value) <= 255:
        assert ada.call("create_project", body, headers={"Idempotency-Key": value}).status == 201
    else:
        is_problem(ada.call("create_project", body, headers={"Idempotency-Key": value}), 400)
    is_problem(ada.call("change_project", {"name": "x"}, headers={"If-Match": value}, project_id="0" * 24), 404, 400)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "", "\x00"]
)
def test_a_json_body_is_a_json_body_whatever_it_is_called(ada: As, content_type: str) -> None:
    body = {"name": "Garden", "description": "Roses."}
    assert ada.call("create_project", body, headers={"content-type": content_type}).status == 201
    is_problem(ada.call("create_project", raw="name=Garden", headers={"content-type": content_type}), 400)


def test_a_body_of_256_kib_is_read_and_one_byte_more_is_not(ada: As) -> None:
    body = json.dumps({"name": "Garden", "description": "Roses.", "x": ""})
    fits = body[:-2] + "x" * (256 * 1024 - len(body)) + body[-2:]
    is_problem(ada.call("create_project", raw=fits), 422)
    is_problem(ada.call("create_project", raw=fits + " "), 413)


def test_a_password_may_hold_anything_that_is_a_character(stores: Stores) -> None:
    odd = "\x00\u202e 🌻" * 5
    for number, password in enumerate((odd, HARMLESS)):
        user = {"name": "Ada", "email": f"ada{number}@example.org", "password": password}
        assert nobody.call("register_user", user).status == 201
        del user["name"]
        assert nobody.call("sign_in", user).status == 201
        assert nobody.call("sign_in", {**user, "password": password + "\x00"}).status == 401


def test_an_erring_store_says_nothing_of_itself(ada: As, monkeypatch: pytest.MonkeyPatch) -> None:
    from itlc.catalog import repository
    from sqlalchemy import text

    def fail(db: Any, *_: object, **__: object) -> None:
        db.execute(text("SELECT * FROM secrets_of_ours"))

    monkeypatch.setattr(repository, "add_service", fail)
    answer = ada.call("publish_service", {"name": "A", "description": "B"})
    is_problem(answer, 500)
    assert "secrets_of_ours" not in answer.text
    assert postgres.catalog.name not in answer.text
