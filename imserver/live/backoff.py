"""Delays after wrong passwords, in memory only.

Three things are counted: an address at an account, an account, and an address. After some wrong
guesses each further one doubles the delay, up to a bound. After a while without guesses the count
starts anew. Laws:

- Nobody locks anybody else out. A user who is logged in from an address already waits for their own
  mistakes at that address only. Everyone else waits for what other addresses guess at the account
  too, for `ACCOUNT.most` seconds at most.
- A wait is told exactly. Whoever comes back after it has their guess taken, whatever other
  addresses have guessed meanwhile.

Owner of the counts: `Backoff`.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Patience(NamedTuple):
    """Limits for wrong guesses by one key."""

    free: int  # wrong guesses without a delay
    most: float  # the longest delay, in seconds


PAIR: Final = Patience(5, 300.0)  # one address at one account
ACCOUNT: Final = Patience(50, 10.0)  # one account from everywhere
ADDRESS: Final = Patience(50, 30.0)  # one address at all accounts
FORGOTTEN_AFTER: Final = 900.0  # seconds without a guess; longer than any wait
_NOTHING: Final = 1e-6  # seconds: shorter waits are rounding errors
MOST_KEYS: Final = 10_000  # of each kind; beyond that, the longest idle ones are dropped
CUSTOMER: Final = 64  # prefix length of the smallest IPv6 network of one customer
SITE: Final = 48  # prefix length of the largest network given to one site (RFC 6177)


class _Guesses:
    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0


class _Counter:
    """Wrong guesses by key."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._known: OrderedDict[str, _Guesses] = OrderedDict()  # the longest idle first

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next guess is taken."""
        guesses = self._known.get(key)
        if guesses is None or now - guesses.last >= FORGOTTEN_AFTER:
            return 0.0
        beyond = guesses.count - self._patience.free
        if beyond < 0:
            return 0.0
        # The bound avoids an overflow; larger powers would be cut to `most` anyway.
        wait = min(self._patience.most, 2.0 ** min(beyond, 20))
        left = guesses.last + wait - now
        return left if left > _NOTHING else 0.0

    def add(self, key: str, now: float) -> None:
        guesses = self._known.pop(key, None)
        if guesses is None or now - guesses.last >= FORGOTTEN_AFTER:
            guesses = _Guesses()
        guesses.count += 1
        guesses.last = now
        self._known[key] = guesses
        if len(self._known) > MOST_KEYS:
            self._known.popitem(last=False)

    def take_back(self, key: str) -> None:
        guesses = self._known.get(key)
        if guesses is not None and guesses.count:
            guesses.count -= 1

    def forget(self, key: str) -> None:
        self._known.pop(key, None)


class _Shared(_Counter):
    """Wrong guesses by a key that many share, each with an appointment of their own.

    Whoever is told to wait gets an appointment. Guesses of others do not move it, so nobody who
    waits as told is told to wait again.
    """

    def __init__(self, patience: Patience) -> None:
        super().__init__(patience)
        self._appointments: OrderedDict[str, float] = OrderedDict()  # the oldest first

    def wait_for(self, key: str, asker: str, now: float) -> float:
        """Seconds until the next guess of one asker is taken."""
        name = f"{key} {asker}"
        at = self._appointments.get(name)
        if at is not None and now - at < FORGOTTEN_AFTER:
            return at - now if at - now > _NOTHING else 0.0
        wait = self.wait(key, now)
        if wait:
            self._appointments.pop(name, None)
            self._appointments[name] = now + wait
            if len(self._appointments) > MOST_KEYS:
                self._appointments.popitem(last=False)
        return wait

    def come(self, key: str, asker: str) -> None:
        """Use up the appointment of an asker whose guess is accepted."""
        self._appointments.pop(f"{key} {asker}", None)


class Backoff:
    """Counts guesses, and says how long to wait for the next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # seconds, never backwards
        self._pairs = _Counter(PAIR)
        self._users = _Shared(ACCOUNT)
        self._addresses = _Counter(ADDRESS)

    def begin(self, user_id: str, address: str, *, known: bool) -> int:
        """Accept a guess, and count it as wrong until `right` or `withdraw` is called.

        Returns 0, or the milliseconds to wait; the guess is not counted then. `known`: the user is
        already logged in from that address.
        """
        now = self._clock()
        network = network_of(address)
        pair = f"{network} {user_id}"
        wait = self._pairs.wait(pair, now)
        if not known:
            wait = max(
                wait,
                self._users.wait_for(user_id, network, now),
                self._addresses.wait(network, now),
            )
        if wait:
            return math.ceil(wait * 1000)
        self._users.come(user_id, network)
        self._pairs.add(pair, now)
        self._users.add(user_id, now)
        self._addresses.add(network, now)
        return 0

    def right(self, user_id: str, address: str) -> None:
        """The password of the last guess was right."""
        network = network_of(address)
        self._pairs.forget(f"{network} {user_id}")
        self._users.take_back(user_id)
        self._addresses.take_back(network)

    def withdraw(self, user_id: str, address: str) -> None:
        """The last guess was not checked: it is neither right nor wrong."""
        network = network_of(address)
        self._pairs.take_back(f"{network} {user_id}")
        self._users.take_back(user_id)
        self._addresses.take_back(network)


def network_of(address: str, bits: int = CUSTOMER) -> str:
    """The key of an address: itself or, for IPv6, its network with that prefix length."""
    if ":" not in address:
        return address
    try:
        number = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, bits), strict=False))
