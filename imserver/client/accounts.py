"""What a user can do with their own account, on a server that keeps accounts: one method a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import msgspec

from imserver.client.connection import parse_url
from imserver.client.errors import Refused, Unreachable
from imserver.domain import frames

if TYPE_CHECKING:
    import ssl

    from imserver.client.lifeline import Lifeline

_TIMEOUT = 30.0  # seconds; a password takes its time


async def log_in(
    url: str,
    user_id: str,
    password: str,
    *,
    device: str | None = None,
    platform: str = "python",
    tls: ssl.SSLContext | None = None,
) -> frames.TokenIssued:
    """A token for a password, to be given to `open_client`; asked over REST.

    Raises:
        ValueError: the url cannot be used.
        Refused: among others `wrong_credentials`, and `rate_limited` after wrong guesses.
        Unreachable: no answer.
    """
    request = frames.PasswordLogin(user_id, password, device, platform)
    place = parse_url(url).rest + "/api/v1/auth/login"
    try:
        async with httpx.AsyncClient(verify=tls or True, timeout=_TIMEOUT) as http:
            response = await http.post(
                place,
                content=msgspec.json.encode(request),
                headers={"Content-Type": "application/json"},
            )
        if response.status_code != 200:
            body = msgspec.json.decode(response.content, type=frames.ErrorBody)
            raise Refused(body.code, body.error, body.retry_after_ms)
        return msgspec.json.decode(response.content, type=frames.TokenIssued)
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise Unreachable(f"{place}: {error}") from None


class AccountCalls:
    """The part of the client that is about the user's own account.

    What changes it for good is not repeated blindly, and raises `ConnectionLost` where the
    connection ends before the answer.
    """

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def logout(self) -> None:
        """Revoke the token of this client, which ends it."""
        await self._line.ask("logout", frames.Nothing(), frames.Success, repeatable=False)

    async def sessions(self) -> list[frames.AuthSession]:
        """The user's tokens, oldest first."""
        answer = await self._line.ask("list_sessions", frames.Nothing(), frames.AuthSessions)
        return answer.sessions

    async def revoke_session(self, token_id: str) -> None:
        """Revoke one of the user's tokens: whoever uses it is signed out."""
        request = frames.SessionRef(token_id)
        await self._line.ask("revoke_session", request, frames.Success, repeatable=False)

    async def revoke_other_sessions(self) -> None:
        """Revoke all of the user's tokens but this client's."""
        request = frames.Nothing()
        await self._line.ask("revoke_other_sessions", request, frames.Success)

    async def change_password(self, old: str, new: str) -> None:
        """Change the password; all of the user's tokens but this client's are revoked.

        Raises:
            Refused: among others `forbidden`, for a wrong `old`.
        """
        request = frames.ChangePassword(old, new)
        await self._line.ask("change_password", request, frames.Success, repeatable=False)
