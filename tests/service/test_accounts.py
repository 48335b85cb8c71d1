"""`token` mode's memory: who has an account, and which tokens let somebody in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.domain.model import NOBODY
from imserver.live.backoff import Backoff
from imserver.live.hub import Hub
from imserver.service.accounts.hashing import Passwords
from imserver.service.accounts.registry import Accounts, digest_of
from imserver.store.accounts import Account, Token, Use
from tests.service.engines import MemoryLink, frame

if TYPE_CHECKING:
    from imserver.domain.model import Grant
    from imserver.live.hub import Session

HOUR = 3_600_000
DAY = 24 * HOUR


class Book:
    """Accounts in memory, a clock, and people with tokens."""

    def __init__(self, token_days: float = 30.0) -> None:
        self.now = 1_700_000_000_000
        self.hub = Hub(frame, outbox_bytes=1000)
        self.accounts = Accounts(
            self.hub,
            lambda: self.now,
            Passwords(),
            Backoff(lambda: 0.0),
            token_days=token_days,
        )
        self._uids: dict[str, int] = {}

    def account(self, user: str, **changes: Any) -> Account:
        uid = self._uids.setdefault(user, len(self._uids) + 1)
        plain = Account(uid, user, False, False, False, self.now, self.now)
        account = plain._replace(**changes)
        self.accounts.changed(account)
        return account

    def log_in(self, user: str, secret: str, *, dropped: tuple[str, ...] = ()) -> Token:
        token = Token(
            f"token_{secret}", digest_of(secret), self._uids[user], user, "", "", "192.0.2.1",
            self.now, self.now, self.accounts.expiry(),
        )  # fmt: skip
        self.accounts.logged_in(token, dropped)
        return token

    def connect(self, secret: str) -> Session:
        session = self.hub.open(MemoryLink(prompt=True))
        self.hub.login(session, self.accounts.admit(secret))
        return session

    def admits(self, secret: str) -> Grant | None:
        try:
            return self.accounts.admit(secret)
        except ApiError as error:
            return None if error.code is Code.UNAUTHORIZED else NOBODY


@pytest.fixture
def book() -> Book:
    book = Book()
    book.account("ann", administrator=True)
    book.account("bob")
    for number, user in enumerate(("ann", "ann", "bob"), 1):
        book.now += 1
        book.log_in(user, f"s{number}")
    return book


def goodbye(session: Session) -> CloseCode | None:
    return session.outbox.goodbye


def test_a_token_lets_in_whose_it_is_and_nobody_else(book: Book) -> None:
    grant = book.admits("s1")
    assert grant is not None
    assert (grant.user_id, grant.administrator, grant.token_id) == ("ann", True, "token_s1")
    assert (grant.expires, grant.must_change) == (None, False)
    other = book.admits("s3")
    assert other is not None
    assert (other.user_id, other.administrator) == ("bob", False)
    for wrong in ("", "s4", "token_s1", "S1", "s1 ", digest_of("s1").hex(), "\ud800"):
        assert book.admits(wrong) is None


def test_what_is_loaded_lets_in(book: Book) -> None:
    after = Book()
    tokens = [live.token for user in ("ann", "bob") for live in book.accounts.tokens_of(user)]
    accounts = [book.accounts.find(user) for user in ("ann", "bob")]
    after.accounts.load([account for account in accounts if account is not None], tokens)
    assert after.admits("s2") == book.admits("s2")


def test_a_revoked_token_takes_its_connections_with_it_and_no_others(book: Book) -> None:
    one, other, bobs = book.connect("s1"), book.connect("s2"), book.connect("s3")
    book.accounts.revoked("bob", "token_s1")  # is not bob's
    book.accounts.revoked("ann", "token_s9")
    assert goodbye(one) is None
    book.accounts.revoked("ann", "token_s1")
    assert goodbye(one) is CloseCode.SIGNED_OUT
    assert goodbye(other) is goodbye(bobs) is None
    assert book.admits("s1") is None
    assert book.admits("s2") is not None
    book.accounts.revoked("ann", "token_s1")  # again changes nothing


def test_all_but_one_can_be_revoked(book: Book) -> None:
    one, other, bobs = book.connect("s1"), book.connect("s2"), book.connect("s3")
    book.accounts.revoked_all("ann", keep="token_s2")
    assert goodbye(one) is CloseCode.SIGNED_OUT
    assert goodbye(other) is goodbye(bobs) is None
    book.accounts.revoked_all("ann")
    assert goodbye(other) is CloseCode.SIGNED_OUT
    assert goodbye(bobs) is None
    assert book.accounts.tokens_of("ann") == []
    book.accounts.revoked_all("ann")
    book.accounts.revoked_all("nobody")


def test_a_disabled_account_is_logged_out_everywhere(book: Book) -> None:
    sessions = [book.connect("s1"), book.connect("s2")]
    book.account("ann", disabled=True)
    assert {goodbye(session) for session in sessions} == {CloseCode.SIGNED_OUT}
    assert book.admits("s1") is None
    book.account("ann")
    assert book.admits("s1") is None  # what was revoked stays so


def test_what_an_account_may_do_counts_at_once_also_for_who_is_connected(book: Book) -> None:
    session = book.connect("s3")
    for administrator in (True, False):
        book.account("bob", administrator=administrator)
        assert session.grant is not None
        assert session.grant.administrator is administrator
        assert session.grant.token_id == "token_s3"
        grant = book.admits("s3")
        assert grant is not None
        assert grant.administrator is administrator
    book.account("bob", must_change=True)
    grant = book.admits("s3")
    assert grant is not None
    assert grant.must_change


def test_tokens_that_had_to_go_for_a_new_one_go(book: Book) -> None:
    session = book.connect("s1")
    book.log_in("ann", "s7", dropped=("token_s1",))
    assert goodbye(session) is CloseCode.SIGNED_OUT
    assert [live.token.token_id for live in book.accounts.tokens_of("ann")] == [
        "token_s2",
        "token_s7",
    ]


async def test_an_unused_token_expires_and_a_used_one_lasts(book: Book) -> None:
    book.now += 29 * DAY
    assert book.admits("s1") is not None
    book.now += DAY
    assert book.admits("s1") is not None
    assert book.admits("s2") is None
    assert [live.token.token_id for live in book.accounts.tokens_of("ann")] == ["token_s1"]
    assert await book.accounts.tend() == [Use("token_s1", book.now, book.now + 30 * DAY)]
    assert book.accounts.tokens_of("bob") == []


@pytest.mark.parametrize("wrong", [0, 1_699_999_999_000], ids=["1970", "a second back"])
async def test_a_clock_that_goes_back_moves_no_end(book: Book, wrong: int) -> None:
    """A token used while the clock is wrong lasts as long as if it had not been used."""
    right = book.now
    session = book.connect("s1")
    before = [(live.used_ms, live.expires_ms) for live in book.accounts.tokens_of("ann")]
    book.now = wrong
    assert book.admits("s1")
    assert await book.accounts.tend() == []  # its connection uses it too; nothing is stored
    book.now = right
    after = [(live.used_ms, live.expires_ms) for live in book.accounts.tokens_of("ann")]
    assert after == before
    assert book.admits("s1")
    assert goodbye(session) is None


async def test_a_token_that_expires_takes_its_connections_with_it(book: Book) -> None:
    session = book.connect("s1")
    book.now += 30 * DAY  # the machine was asleep
    await book.accounts.tend()
    assert goodbye(session) is CloseCode.SIGNED_OUT


async def test_use_is_stored_once_an_hour_and_many_at_a_time(book: Book) -> None:
    start = book.now
    for minute in range(1, 121):
        book.now = start + minute * 60_000
        for secret in ("s1", "s1", "s3"):
            book.admits(secret)
        uses = await book.accounts.tend()
        assert bool(uses) is (minute % 60 == 0)
        if uses:
            assert {use.token_id for use in uses} == {"token_s1", "token_s3"}
            assert {use.expires_ms - use.used_ms for use in uses} == {30 * DAY}
    assert await book.accounts.tend() == []


async def test_an_open_connection_uses_its_token(book: Book) -> None:
    session = book.connect("s1")
    for _ in range(60):
        book.now += DAY
        assert [use.token_id for use in (await book.accounts.tend())] == ["token_s1"]
    assert goodbye(session) is None
    assert book.admits("s1") is not None
    assert book.admits("s2") is None


async def test_the_use_of_short_lived_tokens_is_stored_before_they_would_have_expired() -> None:
    book = Book(token_days=0.01)  # 864 s
    book.account("ann")
    book.log_in("ann", "s1")
    book.now += 87_000
    book.admits("s1")
    assert [use.token_id for use in (await book.accounts.tend())] == ["token_s1"]


async def test_a_revoked_token_is_not_stored_as_used(book: Book) -> None:
    book.now += 2 * HOUR
    book.admits("s1")
    book.accounts.revoked("ann", "token_s1")
    assert await book.accounts.tend() == []


def test_where_somebody_is_known(book: Book) -> None:
    assert book.accounts.is_known_at("ann", "192.0.2.1")
    assert book.accounts.is_known_at("ann", "::ffff:192.0.2.1")
    assert not book.accounts.is_known_at("ann", "192.0.2.2")
    assert not book.accounts.is_known_at("nobody", "192.0.2.1")
    book.now += 30 * DAY
    assert not book.accounts.is_known_at("ann", "192.0.2.1")


def test_which_tokens_are_connected(book: Book) -> None:
    assert book.accounts.connected("ann") == set()
    book.connect("s1")
    session = book.connect("s2")
    assert book.accounts.connected("ann") == {"token_s1", "token_s2"}
    assert book.accounts.connected("bob") == set()
    book.hub.close(session)
    assert book.accounts.connected("ann") == {"token_s1"}


async def test_many_tokens_do_not_keep_others_from_their_turn(book: Book) -> None:
    for number in range(1000, 3000):
        book.log_in("bob", f"s{number}")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        book.now += 30 * DAY
        await book.accounts.tend()
        nursery.cancel_scope.cancel()
    assert turns >= 2  # the order within a turn is the scheduler's
    assert book.accounts.tokens_of("bob") == []
