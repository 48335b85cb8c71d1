"""Who calls, whether they may, and what it costs: `callers`, without a transport."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Grant, Peer
from imserver.domain.requested import CreateGroup, Nothing
from imserver.live.rates import Rate
from imserver.service.admission import Admission, Budget
from imserver.service.callers import admit, charge, settle
from imserver.service.engine import Caller, Engine, Immediate, Who
from imserver.service.operations import OPERATIONS
from tests.service.engines import Engines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ANN = Caller("ann", None, Grant("ann"))
HOME, AWAY = Peer("192.0.2.1"), Peer("192.0.2.2")


class Many(msgspec.Struct):
    """A request that may cost a lot."""

    names: list[str]


def operation(
    who: Who = Who.USER, *, before_change: bool = False, costs: bool = False
) -> Immediate:
    return Immediate(
        name="rule",
        summary="Rule",
        request=Many if costs else Nothing,
        answer=Nothing,
        who=who,
        before_change=before_change,
        cost=(lambda request: len(request.names)) if costs else None,
        handle=lambda engine, caller, request: b"",
    )


def refused(engine: Engine, *request: object) -> Code | None:
    try:
        admit(engine, *request)  # type: ignore[arg-type]
    except ApiError as error:
        return error.code
    return None


def named(user_id: str) -> object:
    def head(name: str) -> Sequence[bytes]:
        return [user_id.encode()] if name == "X-User-ID" and user_id else []

    return head


@pytest.fixture
def engine() -> Iterator[Engine]:
    engines = Engines(None)
    admission = Admission(
        {Budget.REQUESTS: Rate(1, 3)},
        lambda: 1000.0,
        address_logins=Rate(1, 3),
        user_sessions=3,
        address_users=1,
    )
    yield replace(engines.engine, admission=admission)
    engines.stop()


@pytest.mark.parametrize(
    ("who", "caller", "code"),
    [
        (Who.ANYONE, Caller(""), None),
        (Who.USER, Caller(""), Code.NOT_LOGGED_IN),
        (Who.OWNER, Caller(""), Code.NOT_LOGGED_IN),
        (Who.USER, ANN, None),
        (Who.OWNER, ANN, None),  # what she is to the group is seen in the transaction
        (Who.ADMINISTRATOR, Caller(""), Code.NOT_LOGGED_IN),
        (Who.ADMINISTRATOR, ANN, Code.FORBIDDEN),
        (Who.ADMINISTRATOR, Caller("ann", None, Grant("ann", administrator=True)), None),
        (Who.ADMINISTRATOR, Caller("", peer=Peer(operator=True)), None),
    ],
)
def test_who_may_call(engine: Engine, who: Who, caller: Caller, code: Code | None) -> None:
    assert refused(engine, operation(who), caller) is code


def test_a_password_for_one_login_allows_changing_it_and_nothing_else(engine: Engine) -> None:
    caller = ANN._replace(grant=Grant("ann", must_change=True))
    assert refused(engine, operation(), caller) is Code.FORBIDDEN
    assert refused(engine, operation(before_change=True), caller) is None


def test_a_request_of_its_own_names_its_caller(engine: Engine) -> None:
    caller = admit(engine, operation(), Caller("", peer=HOME), named("bob"))  # type: ignore[arg-type]
    assert (caller.user_id, caller.peer) == ("bob", HOME)
    assert refused(engine, operation(), Caller("", peer=HOME), named("")) is Code.UNAUTHORIZED


@pytest.mark.parametrize("what", ["unknown", "not logged in", "nobody", "forbidden"])
def test_what_is_refused_costs_too(engine: Engine, what: str) -> None:
    first, code = {
        "unknown": ((None, Caller("", peer=HOME)), None),
        "not logged in": ((operation(), Caller("", peer=HOME)), Code.NOT_LOGGED_IN),
        "nobody": ((operation(), Caller("", peer=HOME), named("")), Code.UNAUTHORIZED),
        "forbidden": ((operation(Who.ADMINISTRATOR), ANN), Code.FORBIDDEN),
    }[what]
    assert [refused(engine, *first) for _ in range(3)] == [code] * 3
    assert refused(engine, *first) is Code.RATE_LIMITED
    assert refused(engine, None, Caller("", peer=AWAY)) is None


def test_the_whole_of_an_ipv6_network_is_one_address(engine: Engine) -> None:
    for number in range(3):
        assert refused(engine, None, Caller("", peer=Peer(f"2001:db8::{number}"))) is None
    assert refused(engine, None, Caller("", peer=Peer("2001:db8::f:0:0:1"))) is Code.RATE_LIMITED
    assert refused(engine, None, Caller("", peer=Peer("2001:db8:1::1"))) is None


def test_a_cost_is_charged_to_the_caller(engine: Engine) -> None:
    large = operation(costs=True)
    admit(engine, large, ANN)
    charge(engine, large, ANN, Many(["x"] * 100))
    assert refused(engine, large, ANN) is Code.RATE_LIMITED


def test_the_operator_is_held_to_no_rate(engine: Engine) -> None:
    operator = Caller("", peer=Peer(operator=True))
    assert {refused(engine, operation(Who.ANYONE), operator) for _ in range(10)} == {None}


def test_whoever_calls_themselves_another_each_time_is_charged_by_address(engine: Engine) -> None:
    """In mode open callers are believed: their address pays too."""
    codes = [
        refused(engine, operation(), Caller("", peer=HOME), named(f"user{number}"))
        for number in range(4)
    ]
    assert codes == [None, None, None, Code.RATE_LIMITED]
    assert refused(engine, operation(), Caller("", peer=AWAY), named("user9")) is None


def test_a_long_answer_is_charged_to_the_caller(engine: Engine) -> None:
    admit(engine, operation(), ANN)
    settle(engine, operation(), ANN, b"x" * 1_000_000)
    assert refused(engine, operation(), ANN) is Code.RATE_LIMITED
    settle(engine, operation(), Caller("bob"), b"x" * 1000)  # a short one costs nothing more
    assert [refused(engine, operation(), Caller("bob")) for _ in range(3)] == [None] * 3


def test_naming_many_members_is_declared_to_cost_more() -> None:
    costs = {each.name: each.cost for each in OPERATIONS if each.cost is not None}
    assert set(costs) == {"create_group", "add_members"}
    for cost in costs.values():
        request = CreateGroup(name="g", members=[str(number) for number in range(19_990)])
        assert cost(request) == 1 + 999
        assert cost(CreateGroup(name="g")) == 1
