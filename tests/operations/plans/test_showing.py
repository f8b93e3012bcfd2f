"""The plan as a whole: as JSON, as a picture, as the picture's source, on real stores."""

from xml.etree import ElementTree

import pytest

from tests.support.calling import As
from tests.support.market import order_in
from tests.support.plans import diamond, lay_down, step
from tests.support.stack import Stores

customer, provider = As(1), As(2)


@pytest.fixture
def order_id(stores: Stores) -> int:
    """An order in progress of the customer's with the provider."""
    return order_in("in_progress", customer, provider)


def test_the_plan_tells_how_it_hangs_together_and_how_far_it_is(order_id: int) -> None:
    ids = lay_down(provider, order_id, diamond())
    assert provider.call("complete_step", order_id=order_id, step_id=ids[0]).status == 200
    response = customer.call("show_plan", order_id=order_id)
    assert response.status == 200
    assert response.json == {
        "progress": 0.25,
        "ready": [2, 3],
        "blocked": [4],
        "layers": [[1], [2, 3], [4]],
        "critical_path": [1, 2, 4],
        "duration_hours": 8.0,
    }
    assert (response.headers["Content-Type"], response.headers["Vary"]) == ("application/json", "Accept")
    tag = response.headers["ETag"]
    assert provider.call("complete_step", order_id=order_id, step_id=ids[1]).status == 200
    assert customer.call("show_plan", order_id=order_id).headers["ETag"] != tag


def test_an_order_without_steps_has_an_empty_plan(order_id: int) -> None:
    assert customer.call("show_plan", order_id=order_id).json == {
        "progress": 0.0,
        "ready": [],
        "blocked": [],
        "layers": [],
        "critical_path": [],
        "duration_hours": 0.0,
    }


def test_the_picture_is_xml_whatever_the_steps_say(order_id: int) -> None:
    hostile = ["</text><script>alert(1)</script>", 'a & b < c ]]> "d"', "\uffff \ufffe 👩‍👩‍👧 שלום", "W" * 10_000]
    steps = [step(n, *range(1, n), description=text) for n, text in enumerate(hostile, start=1)]
    lay_down(provider, order_id, steps)
    response = customer.call("show_plan", headers={"accept": "image/svg+xml,*/*;q=0.8"}, order_id=order_id)
    assert (response.status, response.headers["Content-Type"]) == (200, "image/svg+xml")
    assert response.headers["Vary"] == "Accept"
    assert "script" not in response.headers["Content-Security-Policy"]
    root = ElementTree.fromstring(response.text.encode())  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert "alert(1)" in "".join(root.itertext())


def test_the_source_is_mermaid(order_id: int) -> None:
    lay_down(provider, order_id, [step(1, description='"Dig" & <plant>'), step(2, 1)])
    response = customer.call("show_plan", headers={"accept": "text/vnd.mermaid"}, order_id=order_id)
    assert response.headers["Content-Type"] == "text/vnd.mermaid; charset=utf-8"
    assert '  s1["Step 1, ready, 1 h<br/>#34;Dig#34; #38; #60;plant#62;"]:::ready\n' in response.text
    assert "  s1 ==> s2\n" in response.text


def test_an_unknown_type_is_answered_in_json(order_id: int) -> None:
    response = customer.call("show_plan", headers={"accept": "image/png"}, order_id=order_id)
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")


def test_a_refusal_is_a_problem_though_a_picture_was_asked_for(order_id: int) -> None:
    response = As(3).call("show_plan", headers={"accept": "image/svg+xml"}, order_id=order_id)
    assert (response.status, response.headers["Content-Type"]) == (404, "application/problem+json")
