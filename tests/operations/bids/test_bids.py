"""Bidding on services, as its operations do it, on real stores."""

import pytest

from tests.support.calling import As, nobody, run_scheduled
from tests.support.market import open_bid, project_of, service_of
from tests.support.stack import Stores

ada, bob, eve, root = As(1), As(2), As(3), As(9, is_admin=True)
NOTICES = "SELECT payload FROM outbox WHERE queue = 'notifications' ORDER BY created_at, id"


def notices(stores: Stores) -> list[tuple[str, list[int]]]:
    """What was emitted for whom."""
    return [(row["payload"]["message"], row["payload"]["user_ids"]) for row in stores.rows("itlc_orders", NOTICES)]


def status_of(stores: Stores, bid_id: int) -> str:
    """The bid's status in the database."""
    (row,) = stores.rows("itlc_orders", "SELECT status FROM bidding WHERE id = :id", id=bid_id)
    return str(row["status"])


def test_a_user_bids_on_a_service(stores: Stores) -> None:
    service, project = service_of(bob), project_of(ada)
    body = {"amount": "120.5", "project_id": project, "message": "By June, please."}
    placed = ada.call("place_bid", body, service_id=service)
    assert placed.status == 201
    expected = {
        "id": 1,
        "service_id": service,
        "project_id": project,
        "bidder_id": 1,
        "amount": "120.50",
        "message": "By June, please.",
        "status": "open",
        "order_id": None,
    }
    assert {name: placed[name] for name in expected} == expected
    assert placed["created_at"].endswith("Z")
    assert placed.headers["Location"] == "../../bids/1"
    (row,) = stores.rows("itlc_orders", "SELECT * FROM bidding")
    assert {name: str(row[name]) for name in expected} == {name: str(value) for name, value in expected.items()}
    assert (row["provider_id"], row["provider_user_id"]) == (1, 2)
    assert notices(stores) == [("New bid of 120.50 on your service “Gardening”.", [2])]
    assert ada.call("read_bid", bid_id=1).json == placed.json


def test_a_bidder_may_bid_again_and_without_a_project(stores: Stores) -> None:
    service = service_of(bob)
    bids = [ada.call("place_bid", {"amount": amount}, service_id=service) for amount in (80, "75.25", 70.5)]
    assert [(bid.status, bid["amount"], bid["project_id"]) for bid in bids] == [
        (201, "80.00", None),
        (201, "75.25", None),
        (201, "70.50", None),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": "-1.00"}, "amount"),
        ({"amount": "1.005"}, "amount"),
        ({"amount": "much"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 10**10}, "amount"),
        ({"amount": "1.00", "project_id": "7"}, "project_id"),
        ({"amount": "1.00", "project_id": "665f1f77bcf86cd799439011"}, "project_id"),
        ({"amount": "1.00", "message": ""}, "message"),
        ({"amount": "1.00", "bidder_id": 3}, "bidder_id"),
    ],
)
def test_a_bad_bid_is_refused_by_field(stores: Stores, body: dict[str, object], field: str) -> None:
    refused = ada.call("place_bid", body, service_id=service_of(bob))
    assert refused.status == 422
    assert [error["field"] for error in refused["errors"]] == [field]
    assert stores.rows("itlc_orders", "SELECT * FROM bidding") == []
    assert notices(stores) == []


def test_a_bid_is_for_ones_own_project_only(stores: Stores) -> None:
    service, project = service_of(bob), project_of(ada)
    for other in (eve, root):
        refused = other.call("place_bid", {"amount": 1, "project_id": project}, service_id=service)
        assert (refused.status, refused["errors"][0]["field"]) == (422, "project_id")
    assert stores.rows("itlc_orders", "SELECT * FROM bidding") == []


def test_what_cannot_be_bid_on(stores: Stores) -> None:
    service = service_of(bob)
    own = bob.call("place_bid", {"amount": 1}, service_id=service)
    assert (own.status, own["detail"]) == (409, "This service is your own: bid on those of others.")
    assert ada.call("place_bid", {"amount": 1}, service_id=service + 1).status == 404
    assert nobody.call("place_bid", {"amount": 1}, service_id=service).status == 401
    stores.rows("itlc_api", "UPDATE services SET status = 'withdrawn'")
    withdrawn = ada.call("place_bid", {"amount": 1}, service_id=service)
    assert (withdrawn.status, withdrawn["detail"]) == (409, "This service was withdrawn.")
    assert stores.rows("itlc_orders", "SELECT * FROM bidding") == []


def test_a_repeated_key_bids_once(stores: Stores) -> None:
    service = service_of(bob)
    first = ada.call("place_bid", {"amount": 5}, key="k", service_id=service)
    again = ada.call("place_bid", {"amount": 5}, key="k", service_id=service)
    assert (again.status, again.text, again.headers["Idempotency-Replayed"]) == (201, first.text, "true")
    assert ada.call("place_bid", {"amount": 6}, key="k", service_id=service).status == 422
    assert eve.call("place_bid", {"amount": 5}, key="k", service_id=service)["id"] != first["id"]
    assert len(stores.rows("itlc_orders", "SELECT * FROM bidding")) == 2
    assert len(notices(stores)) == 2


def test_who_bids_is_for_the_provider_and_the_bidder_to_see(stores: Stores) -> None:
    service, project = service_of(bob), project_of(ada)
    ada.call("place_bid", {"amount": 10, "project_id": project, "message": "Mine."}, service_id=service)
    eve.call("place_bid", {"amount": 20, "message": "Hers."}, service_id=service)
    open_bid(ada, service_of(bob, "Kitchens"))
    anonymous = {"id", "service_id", "amount", "status", "created_at"}

    def seen(caller: As) -> list[tuple[str, object]]:
        items = caller.call("list_service_bids", service_id=service)["items"]
        assert all("bidder_id" in item or set(item) == anonymous for item in items)
        return [(item["amount"], item.get("bidder_id")) for item in items]

    assert seen(bob) == seen(root) == [("20.00", 3), ("10.00", 1)]
    assert seen(ada) == [("20.00", None), ("10.00", 1)]
    assert seen(eve) == [("20.00", 3), ("10.00", None)]
    assert seen(As(4)) == [("20.00", None), ("10.00", None)]
    for words in ("Mine.", "Hers.", project):
        assert words not in As(4).call("list_service_bids", service_id=service).text
    assert nobody.call("list_service_bids", service_id=service).status == 401
    assert ada.call("list_service_bids", service_id=99).status == 404


def test_pages_of_bids_follow_each_other(stores: Stores) -> None:
    service = service_of(bob)
    ids = [open_bid(ada, service) for _ in range(5)]
    for name, caller, path in (("list_service_bids", bob, {"service_id": service}), ("list_my_bids", ada, {})):
        pages = list(caller.pages(name, query={"limit": 2}, **path))
        assert [[item["id"] for item in page] for page in pages] == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]


def test_my_bids_are_mine_by_status(stores: Stores) -> None:
    service = service_of(bob)
    kept, gone = open_bid(ada, service), open_bid(ada, service)
    open_bid(eve, service)
    assert ada.call("withdraw_bid", bid_id=gone).status == 204

    def ids(**query: object) -> list[int]:
        return [item["id"] for item in ada.call("list_my_bids", query=query)["items"]]

    assert (ids(), ids(status="open"), ids(status="withdrawn"), ids(status="won")) == ([gone, kept], [kept], [gone], [])
    assert ada.call("list_my_bids", query={"status": "lost"}).status == 422
    assert nobody.call("list_my_bids").status == 401


def test_who_reads_a_bid(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    assert [caller.call("read_bid", bid_id=bid).status for caller in (ada, bob, root, eve, nobody)] == [
        200,
        200,
        200,
        404,
        401,
    ]
    assert ada.call("read_bid", bid_id=bid + 1).status == 404


def test_the_bidder_withdraws_and_the_provider_is_told(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    withdrawn = ada.call("withdraw_bid", bid_id=bid)
    assert (withdrawn.status, withdrawn.text) == (204, "")
    assert status_of(stores, bid) == "withdrawn"
    assert notices(stores)[1:] == [("The bid of 120.00 on service 1 was withdrawn.", [2])]
    again = ada.call("withdraw_bid", bid_id=bid)
    assert (again.status, again["detail"]) == (409, "This bid is withdrawn: only an open bid can be withdrawn.")
    assert stores.rows("itlc_orders", "SELECT * FROM audit") == []


def test_the_provider_rejects_and_the_bidder_is_told(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    rejected = bob.call("reject_bid", bid_id=bid)
    assert (rejected.status, rejected["status"]) == (200, "rejected")
    assert status_of(stores, bid) == "rejected"
    assert notices(stores)[1:] == [("The bid of 120.00 on service 1 was rejected.", [1])]
    assert bob.call("reject_bid", bid_id=bid).status == 409
    assert ada.call("withdraw_bid", bid_id=bid).status == 409


def test_nobody_else_withdraws_or_rejects(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    for operation, wrong_party in (("withdraw_bid", bob), ("reject_bid", ada)):
        assert wrong_party.call(operation, bid_id=bid).status == 403
        assert eve.call(operation, bid_id=bid).status == 404
        assert nobody.call(operation, bid_id=bid).status == 401
        assert ada.call(operation, bid_id=bid + 1).status == 404
    assert bob.call("reject_bid", {"reason": "No."}, bid_id=bid).status == 422
    assert status_of(stores, bid) == "open"


def test_a_withdrawal_needs_the_version_it_was_made_from(stores: Stores) -> None:
    bid = open_bid(ada, service_of(bob))
    tag = ada.call("read_bid", bid_id=bid).headers["ETag"]
    assert ada.call("withdraw_bid", headers={"If-Match": '"other"'}, bid_id=bid).status == 412
    assert status_of(stores, bid) == "open"
    assert ada.call("withdraw_bid", headers={"If-Match": tag}, bid_id=bid).status == 204


@pytest.mark.parametrize(("operation", "status"), [("withdraw_bid", "withdrawn"), ("reject_bid", "rejected")])
def test_an_administrator_acts_on_record_and_both_are_told(stores: Stores, operation: str, status: str) -> None:
    bid = open_bid(ada, service_of(bob))
    assert root.call(operation, bid_id=bid).status in (200, 204)
    assert status_of(stores, bid) == status
    (entry,) = stores.rows("itlc_orders", "SELECT * FROM audit")
    assert (entry["actor_id"], entry["action"], entry["object"]) == (9, operation, f"bid:{bid}")
    assert (entry["before"], entry["after"]) == ({"status": "open"}, {"status": status})
    assert notices(stores)[-1] == (f"The bid of 120.00 on service 1 was {status}.", [1, 2])


def test_old_open_bids_expire_and_their_bidders_are_told(stores: Stores) -> None:
    service = service_of(bob)
    old, older_but_withdrawn, young = (open_bid(ada, service) for _ in range(3))
    ada.call("withdraw_bid", bid_id=older_but_withdrawn)
    age = "UPDATE bidding SET created_at = now() - interval '1 day' * :days WHERE id = :id"
    for bid, days in ((old, 30.01), (older_but_withdrawn, 99), (young, 29.99)):
        stores.rows("itlc_orders", age, id=bid, days=days)
    told = len(notices(stores))
    assert run_scheduled("expire_bids") == {"expired": 1}
    assert [status_of(stores, bid) for bid in (old, older_but_withdrawn, young)] == ["expired", "withdrawn", "open"]
    assert notices(stores)[told:] == [("Your bid of 120.00 on service 1 has expired after 30 days.", [1])]
    assert run_scheduled("expire_bids") == {"expired": 0}
    assert len(notices(stores)) == told + 1


def test_more_than_a_batch_expires(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    from itlc.bids import service as bids

    monkeypatch.setattr(bids, "EXPIRY_BATCH", 2)
    service = service_of(bob)
    for _ in range(5):
        open_bid(ada, service)
    stores.rows("itlc_orders", "UPDATE bidding SET created_at = now() - interval '31 days'")
    assert run_scheduled("expire_bids") == {"expired": 5}
