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
    """How much is put up with."""

    free: int  # wrong guesses that are taken at once
    most: float  # seconds to wait at the most


PAIR: Final = Patience(5, 300.0)  # one address at one account
ACCOUNT: Final = Patience(50, 10.0)  # one account from everywhere
ADDRESS: Final = Patience(50, 30.0)  # one address at all accounts
FORGOTTEN_AFTER: Final = 900.0  # seconds without a guess; longer than any wait
_NOTHING: Final = 1e-6  # seconds: what rounding leaves
MOST_KEYS: Final = 10_000  # of each kind; beyond, those go that were quiet for longest
CUSTOMER: Final = 64  # bits of the IPv6 network that one customer has at least
SITE: Final = 48  # and of the largest that is given to one site (RFC 6177)


class _Guesses:
    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = 0.0


class _Counter:
    """Wrong guesses by key."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._known: OrderedDict[str, _Guesses] = OrderedDict()  # the quietest first

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next guess is taken."""
        guesses = self._known.get(key)
        if guesses is None or now - guesses.last >= FORGOTTEN_AFTER:
            return 0.0
        beyond = guesses.count - self._patience.free
        if beyond < 0:
            return 0.0
        # A power of more would only be cut off; the bound keeps it a number.
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

    Whoever is told to wait has an appointment then, and what others guess meanwhile does not move
    it. So nobody who waits as told is told to wait again.
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
        """An asker's guess is taken: the appointment is used up."""
        self._appointments.pop(f"{key} {asker}", None)


class Backoff:
    """Counts guesses, and says how long to wait for the next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # seconds, never backwards
        self._pairs = _Counter(PAIR)
        self._users = _Shared(ACCOUNT)
        self._addresses = _Counter(ADDRESS)

    def begin(self, user_id: str, address: str, *, known: bool) -> int:
        """Take a guess, as wrong until it is told to be right.

        Returns 0, or the milliseconds to wait; nothing is taken then. `known`: the user is logged
        in from that address already.
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
        """What was begun was no wrong guess."""
        network = network_of(address)
        self._pairs.forget(f"{network} {user_id}")
        self._users.take_back(user_id)
        self._addresses.take_back(network)

    def withdraw(self, user_id: str, address: str) -> None:
        """What was begun came to nothing: neither right nor wrong."""
        network = network_of(address)
        self._pairs.take_back(f"{network} {user_id}")
        self._users.take_back(user_id)
        self._addresses.take_back(network)


def network_of(address: str, bits: int = CUSTOMER) -> str:
    """Whose address it is: in IPv6 the network of so many bits that it is in."""
    if ":" not in address:
        return address
    try:
        number = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, bits), strict=False))
