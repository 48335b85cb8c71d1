"""The `token` mode: callers are whose token they bring, one that a login with a password gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from imserver.service.identity.modes import BearerIdentity

if TYPE_CHECKING:
    from imserver.domain.model import Grant
    from imserver.service.accounts.registry import Accounts


class TokenIdentity(BearerIdentity):
    """Callers are whose token they bring."""

    mode = "token"
    scheme: ClassVar[dict[str, Any]] = {"type": "http", "scheme": "bearer"}

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def of_token(self, token: str) -> Grant:
        """See `BearerIdentity`: `unauthorized` for one that is not known, or not any more."""
        return self._accounts.admit(token)
