"""The matrix of rights is whole: no operation without its row, no row without its operation."""

from itlc.access import Rule

from tests.security import test_matrix_market, test_matrix_people, test_matrix_work
from tests.security.matrix import Who, domain_of
from tests.security.table import ROWS
from tests.support.calling import operations

# What an operation declares (`allow`) for what the contract says of it.
DECLARED: dict[Who, set[Rule]] = {
    "P": {"anyone"},
    "U": {"user"},
    "V": {"provider", "user"},  # whoever tops up for another has to be a provider, for oneself a user
    "A": {"admin"},
    "cust": {"customer"},
    "prov": {"seller"},
    "cust, prov": {"party", "user"},  # a top-up's two parties are no order's
    "bidder": {"bidder"},
    "bidder or prov": {"bidder or seller"},
    "mine": {"owner"},
    "own": {"owner"},
    "buyer": {"user"},
    "reviewer": {"owner"},
}


def test_every_operation_has_its_row() -> None:
    routed = {name for name, app in operations().items() if app.route_spec is not None}
    written = {one.operation for one in ROWS}
    assert routed - written == set(), "say in tests/security/table.py who may call them"
    assert written - routed == set(), "there are no such operations"


def test_what_an_operation_declares_is_what_the_contract_says() -> None:
    for one in ROWS:
        spec = operations()[one.operation].route_spec
        assert spec is not None
        assert spec.allow in DECLARED[one.who], one.operation


def test_every_row_is_run() -> None:
    run = {
        one.operation
        for module in (test_matrix_market, test_matrix_people, test_matrix_work)
        for one in module.test_each_gets_what_is_theirs_and_nothing_else.pytestmark[0].args[1]
    }
    missing = {domain_of(one.operation) for one in ROWS if one.operation not in run}
    assert not missing, "add these domains to one of the test_matrix_*.py"
