"""How long who guesses wrong has to wait, in memory only.

Three things are counted: an address at an account, an account, and an address. After some wrong
guesses each further one doubles the wait, up to a bound, and after a while without any it is as
if there had been none. Nobody can lock anybody else out: who comes from where the account is
known to be used waits for their own mistakes alone, and everyone else at the most for as long
as the bounds that all of an account's or an address's callers share, which are short.

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

    free: int  # wrong guesses that cost nothing
    most: float  # seconds to wait at the most


PAIR: Final = Patience(5, 300.0)  # one address at one account
SHARED: Final = Patience(50, 30.0)  # one account from everywhere, or one address at all accounts
FORGOTTEN_AFTER: Final = 900.0  # seconds without a guess; longer than any wait
_NOTHING: Final = 1e-6  # seconds: what rounding leaves
MOST_KEYS: Final = 10_000  # of each kind; beyond, those go that were quiet for longest


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


class Backoff:
    """Counts guesses, and says how long to wait for the next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # seconds, never backwards
        self._pairs = _Counter(PAIR)
        self._users = _Counter(SHARED)
        self._addresses = _Counter(SHARED)

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
            wait = max(wait, self._users.wait(user_id, now), self._addresses.wait(network, now))
        if wait:
            return math.ceil(wait * 1000)
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


def network_of(address: str) -> str:
    """Whose address it is: in IPv6 one customer has a whole /64 at the least."""
    if ":" not in address:
        return address
    try:
        number = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.ip_network((number, 64), strict=False))
