"""What a password may be, and how its hash is made and compared."""

from __future__ import annotations

import argon2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from imserver.domain.errors import ApiError, Code
from imserver.domain.passwords import (
    MAX_PASSWORD,
    MIN_PASSWORD,
    check_password,
    is_bearable,
    normal,
)
from imserver.service.accounts.hashing import Passwords

QUICK = argon2.PasswordHasher(1, 8, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("é" * 8, "e\u0301" * 8),  # composed or not
        ("ｐａｓｓｗｏｒｄ", "password"),  # an input method's full width
        ("ﬁlament", "filament"),
        ("한" * 8, "\u1112\u1161\u11ab" * 8),
    ],
)
def test_the_same_characters_are_the_same_however_they_are_put(one: str, other: str) -> None:
    assert one != other
    assert normal(one) == normal(other)


@pytest.mark.parametrize("password", ["Correct horse", "correct  horse", " correct horse"])
def test_case_and_space_count(password: str) -> None:
    assert normal(password) != normal("correct horse")


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", Code.INVALID_REQUEST),
        ("x" * (MIN_PASSWORD - 1), Code.INVALID_REQUEST),
        ("e\u0301" * (MIN_PASSWORD - 1), Code.INVALID_REQUEST),  # characters, not code points
        ("x" * (MAX_PASSWORD + 1), Code.TOO_LARGE),
        ("é" * (MAX_PASSWORD // 2 + 1), Code.TOO_LARGE),
        ("\ufdfa" * 100, Code.TOO_LARGE),  # one that becomes eighteen
        ("x" * 10_000_000, Code.TOO_LARGE),
    ],
)
def test_what_may_not_become_a_password(password: str, code: Code) -> None:
    with pytest.raises(ApiError) as refused:
        check_password(password, "new_password")
    assert refused.value.code is code
    if code is Code.INVALID_REQUEST:
        assert str(refused.value) == "new_password must have at least 8 characters"


@pytest.mark.parametrize(
    "password",
    ["x" * MIN_PASSWORD, "x" * MAX_PASSWORD, "密码" * 4, "é" * (MAX_PASSWORD // 2), "\x00" * 8],
)
async def test_what_may(password: str) -> None:
    assert check_password(password) == password
    passwords = Passwords(QUICK)
    known = await passwords.hash(password)
    assert await passwords.is_right(password, known)
    assert not await passwords.is_right(password[:-1] + "y", known)


async def test_the_hash_is_argon2id_as_owasp_wants_it() -> None:
    passwords = Passwords()
    known = await passwords.hash("correct horse")
    assert known.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert not passwords.is_outdated(known)
    assert await passwords.hash("correct horse") != known  # salted
    assert passwords.is_outdated(QUICK.hash("correct horse"))


async def test_nobodys_password_costs_the_same_and_is_never_right() -> None:
    passwords = Passwords(QUICK)
    for known in (None, QUICK.hash("something else")):
        before = passwords.runs
        assert not await passwords.is_right("correct horse", known)
        assert passwords.runs == before + 1
    # It is looked at with the parameters of today, whatever those are.
    nobodys = argon2.extract_parameters(passwords._nobodys)
    assert nobodys == argon2.extract_parameters(QUICK.hash("x"))


@pytest.mark.parametrize("known", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$x$x", "$2b$12$" + "x" * 53])
async def test_a_hash_that_is_none_is_wrong(known: str) -> None:
    assert not await Passwords(QUICK).is_right("correct horse", known)


async def test_logins_take_their_turn_and_too_many_are_sent_away() -> None:
    passwords = Passwords(QUICK, at_once=1, most_of_one=3)
    answers: list[object] = []

    async def look() -> None:
        try:
            answers.append(await passwords.is_right("correct horse", None))
        except ApiError as error:
            answers.append((error.code, error.retry_after_ms))

    async with trio.open_nursery() as nursery, passwords._turns.turn("x"):  # the only turn
        for _ in range(5):
            nursery.start_soon(look)
        await wait_all_tasks_blocked()
        assert answers == [(Code.RATE_LIMITED, 1000)] * 2
    assert answers[2:] == [False] * 3
    assert passwords.runs == 3


@pytest.mark.parametrize(
    ("known", "bearable"),
    [
        ("$argon2id$v=19$m=65536,t=3,p=4$" + "A" * 22 + "$" + "A" * 43, True),  # RFC 9106's
        ("$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43, True),
        ("$argon2id$v=19$m=4194304,t=2,p=1$" + "A" * 22 + "$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=4000000,p=1$" + "A" * 22 + "$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=2,p=200$" + "A" * 22 + "$" + "A" * 43, False),
        ("$argon2id$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 4300, False),
        ("$argon2i$v=19$m=19456,t=2,p=1$" + "A" * 22 + "$" + "A" * 43, False),
        ("", False),
    ],
)
async def test_a_hash_that_costs_too_much_is_never_run(known: str, bearable: bool) -> None:
    assert is_bearable(known) is bearable
    if not bearable:  # it would take gigabytes, or hours
        assert not await Passwords(QUICK).is_right("correct horse", known)


async def test_an_address_with_many_logins_delays_another_by_one() -> None:
    passwords = Passwords(QUICK, at_once=1)
    order: list[str] = []

    async def look(by: str) -> None:
        await passwords.is_right("correct horse", None, by)
        order.append(by)

    async with trio.open_nursery() as nursery, passwords._turns.turn("x"):
        for _ in range(60):
            nursery.start_soon(look, "stranger")
        await wait_all_tasks_blocked()
        nursery.start_soon(look, "honest")
        await wait_all_tasks_blocked()
    assert "honest" in order[:2]


async def test_a_password_that_is_too_long_costs_nothing() -> None:
    passwords = Passwords(QUICK)
    with pytest.raises(ApiError) as refused:
        await passwords.is_right("x" * (MAX_PASSWORD + 1), None)
    assert refused.value.code is Code.TOO_LARGE
    assert passwords.runs == 0
