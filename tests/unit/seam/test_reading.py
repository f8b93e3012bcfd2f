"""From a request's text to typed values, without any store."""

import json
from typing import Any
from uuid import UUID

import pytest
from itlc.errors import Invalid, Malformed, NotFound, TooLarge
from itlc.fields import Amount, Id, Input, Name
from itlc.reading import read_body, read_json, read_path, read_query
from pydantic import TypeAdapter


class Bid(Input):
    """A body."""

    amount: Amount
    project: Name | None = None
    count: Id = 1


BID = TypeAdapter(Bid)


@pytest.mark.parametrize("raw", [b"{", b"nonsense", b'{"a": NaN}', b'{"a": Infinity}', b"\xff\xfe", b'"\xed\xa0\x80"'])
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_json(raw)


def test_an_empty_body_is_an_empty_object() -> None:
    assert read_json(b"") == {}
    assert read_json(b" \n") == {}


@pytest.mark.parametrize(("depth", "refused"), [(20, False), (21, True), (100_000, True)])
def test_a_body_nests_at_most_20_deep(depth: int, refused: bool) -> None:
    text = b"[" * depth + b"]" * depth
    if refused:
        with pytest.raises(Invalid, match="deeper than 20") as caught:
            read_json(text)
        assert [error.field for error in caught.value.errors] == ["body"]
    else:
        read_json(text)


def test_a_number_of_thousands_of_digits_is_json_but_refused() -> None:
    with pytest.raises(Invalid, match="5,000 digits") as caught:
        read_json(b"1" * 5_000)
    assert [error.field for error in caught.value.errors] == ["body"]


def test_brackets_in_strings_do_not_nest() -> None:
    value = {"text": '[[[["' * 30}
    assert read_json(json.dumps(value).encode()) == value


def test_a_body_of_over_256_kib_is_too_large() -> None:
    assert read_json(b'"' + b"x" * (256 * 1024 - 2) + b'"')
    with pytest.raises(TooLarge, match="262,144"):
        read_json(b'"' + b"x" * (256 * 1024 - 1) + b'"')


def refused(value: Any) -> dict[str, str]:
    """The fields that are refused in a body, with the messages."""
    with pytest.raises(Invalid) as caught:
        read_body(BID, value)
    return {error.field: error.message for error in caught.value.errors}


def test_each_refused_field_is_named() -> None:
    errors = refused({"amount": "-1", "project": 3, "colour": "red"})
    assert set(errors) == {"amount", "project", "colour"}
    assert errors["colour"] == "is not a field of this operation"
    assert refused({}) == {"amount": "is required"}
    assert "body" in refused([])


@pytest.mark.parametrize("amount", ["120.00", "120", 120, 120.5, 0.1, "0.01", "1000000000"])
def test_amounts_come_as_strings_or_numbers(amount: Any) -> None:
    assert str(amount).rstrip("0").rstrip(".") in str(
        read_body(BID, {"amount": amount}).model_dump(mode="json")["amount"]
    )


@pytest.mark.parametrize(
    "amount",
    [
        *("0", 0, "-1", "1.001", 1.001, "1.000", "1e3", "NaN", "Infinity", "", " 1", "\uff11", True, None, []),
        *("1000000000.01", "9" * 400),
    ],
)
def test_other_amounts_are_refused(amount: Any) -> None:
    assert list(refused({"amount": amount})) == ["amount"]


@pytest.mark.parametrize("count", ["1", 1.5, True, 0, 2**31])
def test_no_type_is_silently_turned_into_another(count: Any) -> None:
    assert list(refused({"amount": 1, "count": count})) == ["count"]


@pytest.mark.parametrize("name", ["", "   ", "a\x00b", "a\u202eb", "two\nlines", "x" * 201])
def test_names_are_one_clean_line(name: str) -> None:
    assert list(refused({"amount": 1, "project": name})) == ["project"]


@pytest.mark.parametrize(("raw", "field"), [(r'{"a": [{"b": "\ud800"}]}', "a.0.b"), (r'{"\udfff": 1}', "body")])
def test_half_a_surrogate_pair_is_refused(raw: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_json(raw.encode())
    assert caught.value.errors[0].field == field


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert read_json(rb'{"a": "\ud83c\udf3b"}') == {"a": "🌻"}


def test_emoji_and_accents_come_through() -> None:
    assert read_body(BID, {"amount": 1, "project": " Été 🌻 "}).project == "Été 🌻"


def test_query_parameters_may_not_repeat_or_be_unknown() -> None:
    with pytest.raises(Invalid, match="given more than once"):
        read_query(BID, {"amount": ["1", "2"]})
    with pytest.raises(Invalid, match="not a field"):
        read_query(BID, {"amount": ["1"], "colour": ["red"]})


def test_path_ids_are_typed() -> None:
    step = "018f3f6e-7b1a-7cc1-9d3e-0a1b2c3d4e5f"
    assert read_path({"order_id": "12", "step_id": step}, {"order_id": int, "step_id": UUID}) == {
        "order_id": 12,
        "step_id": UUID(step),
    }


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.0", "2147483648", "٣", "1" * 50, ""])
def test_what_cannot_be_an_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound, match="no such order"):
        read_path({"order_id": text}, {"order_id": int})
