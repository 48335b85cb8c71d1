"""Delays after wrong passwords."""

from __future__ import annotations

import pytest

from imserver.live import backoff
from imserver.live.backoff import ACCOUNT, ADDRESS, FORGOTTEN_AFTER, PAIR, Backoff

HERE = "192.0.2.1"


class Guessing:
    """A backoff, and a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.backoff = Backoff(lambda: self.now)

    def wrong(self, user: str = "ann", address: str = HERE, *, known: bool = False) -> int:
        """A wrong guess, if it is taken."""
        return self.backoff.begin(user, address, known=known)

    def wait_out(self, wait_ms: int) -> None:
        self.now += wait_ms / 1000


@pytest.fixture
def guessing() -> Guessing:
    return Guessing()


def test_the_first_guesses_are_free_then_each_doubles_the_wait(guessing: Guessing) -> None:
    for _ in range(PAIR.free):
        assert guessing.wrong() == 0
    waits = []
    for _ in range(12):
        wait = guessing.wrong()
        waits.append(round(wait / 1000))
        guessing.wait_out(wait - 5)
        assert 0 < guessing.wrong() <= 6  # a little too early still is
        guessing.wait_out(6)
        assert guessing.wrong() == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_the_time_that_is_told_is_the_time_that_it_takes(guessing: Guessing) -> None:
    guessing.now = 1e6 + 0.1  # a clock that has run for a while, where rounding shows
    for _ in range(PAIR.free):
        guessing.wrong()
    for _ in range(12):
        guessing.wait_out(guessing.wrong())
        assert guessing.wrong() == 0


def test_who_comes_too_early_is_not_made_to_wait_longer(guessing: Guessing) -> None:
    for _ in range(PAIR.free):
        guessing.wrong()
    waits = {guessing.wrong() for _ in range(100)}
    assert len(waits) == 1


def test_guesses_under_way_count_as_wrong(guessing: Guessing) -> None:
    """However many come at one moment: no more are taken than are free."""
    assert [guessing.wrong() for _ in range(20)].count(0) == PAIR.free


def test_a_right_guess_is_the_end_of_it(guessing: Guessing) -> None:
    for _ in range(PAIR.free):
        guessing.wrong()
    guessing.wait_out(guessing.wrong())
    assert guessing.wrong() == 0
    guessing.backoff.right("ann", HERE)
    for _ in range(PAIR.free):
        assert guessing.wrong() == 0
    assert guessing.wrong() > 0


def test_what_came_to_nothing_does_not_count(guessing: Guessing) -> None:
    for _ in range(10 * ACCOUNT.free):
        assert guessing.wrong() == 0
        guessing.backoff.withdraw("ann", HERE)


def test_right_ones_never_add_up(guessing: Guessing) -> None:
    """An office behind one address logs in in the morning."""
    for number in range(10 * ACCOUNT.free):
        assert guessing.wrong(f"user{number}") == 0
        guessing.backoff.right(f"user{number}", HERE)


def test_a_stranger_locks_nobody_out(guessing: Guessing) -> None:
    """Who is known at their address waits for nobody else's mistakes, others a little."""
    stranger = "198.51.100.1"
    for _ in range(1000):
        guessing.wait_out(guessing.wrong("ann", stranger))
        guessing.wrong("ann", stranger)
    assert guessing.wrong("ann", stranger) > 0
    assert guessing.wrong("ann", HERE, known=True) == 0
    wait = guessing.wrong("ann", "203.0.113.9")
    assert 0 < wait <= ACCOUNT.most * 1000 + 1
    guessing.wait_out(wait)
    assert guessing.wrong("ann", "203.0.113.9") == 0


def test_many_addresses_at_one_account_wait_together(guessing: Guessing) -> None:
    taken = [guessing.wrong("ann", f"198.51.{n // 256}.{n % 256}") for n in range(1000)].count(0)
    assert taken == ACCOUNT.free
    assert guessing.wrong("bob") == 0


def test_a_wait_is_told_exactly_whatever_other_addresses_do_meanwhile(guessing: Guessing) -> None:
    """Ten addresses guess on and on; the victim waits once, as told, and is heard."""
    strangers = [f"198.51.100.{n}" for n in range(10)]
    for _ in range(PAIR.free + 3):
        for stranger in strangers:
            guessing.wrong("ann", stranger)
    wait = guessing.wrong("ann")
    assert 0 < wait <= ACCOUNT.most * 1000
    for step in range(10):
        guessing.wait_out(wait // 10)
        for stranger in strangers + [f"203.0.{step}.{n}" for n in range(100)]:
            guessing.wrong("ann", stranger)
    assert guessing.wrong("ann") == 0


def test_one_address_at_many_accounts_waits(guessing: Guessing) -> None:
    assert [guessing.wrong(f"user{n}") for n in range(1000)].count(0) == ADDRESS.free
    assert guessing.wrong("ann", "203.0.113.9") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1%eth0", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("not:an:address", "not:an:address", True),
    ],
)
def test_an_ipv6_customer_is_one_however_many_addresses_they_have(
    guessing: Guessing, one: str, other: str, same: bool
) -> None:
    for _ in range(PAIR.free):
        guessing.wrong("ann", one)
    assert (guessing.wrong("ann", other) > 0) is same


def test_after_a_while_it_is_as_if_nothing_had_been(guessing: Guessing) -> None:
    for _ in range(PAIR.free):
        guessing.wrong()
    assert guessing.wrong() > 0
    guessing.now += FORGOTTEN_AFTER
    for _ in range(PAIR.free):
        assert guessing.wrong() == 0


def test_memory_is_bounded_and_the_quietest_go_first(
    guessing: Guessing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "MOST_KEYS", 100)
    for _ in range(PAIR.free):
        guessing.wrong("ann")
    for number in range(99):
        guessing.wrong(f"user{number}", f"198.51.100.{number}")
    assert guessing.wrong("ann") > 0
    assert all(len(counter._known) <= 100 for counter in vars(guessing.backoff).values()
               if isinstance(counter, backoff._Counter))  # fmt: skip
    guessing.wrong("one more", "203.0.113.9")
    assert guessing.wrong("ann") == 0  # forgotten
