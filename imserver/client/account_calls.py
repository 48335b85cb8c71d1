"""What a user can do with their own account, on a server that keeps accounts: one method a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain import answered, requested

if TYPE_CHECKING:
    from imserver.client.lifeline import Lifeline


class AccountCalls:
    """The part of the client that is about the user's own account.

    What changes it for good is not repeated blindly, and raises `ConnectionLost` where the
    connection ends before the answer.
    """

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def logout(self) -> None:
        """Revoke the token of this client, which ends it."""
        await self._line.ask("logout", requested.Nothing(), answered.Success, repeatable=False)

    async def sessions(self) -> list[answered.AuthSession]:
        """The user's tokens, oldest first."""
        answer = await self._line.ask("list_sessions", requested.Nothing(), answered.AuthSessions)
        return answer.sessions

    async def revoke_session(self, token_id: str) -> None:
        """Revoke one of the user's tokens: whoever uses it is signed out."""
        request = requested.SessionRef(token_id)
        await self._line.ask("revoke_session", request, answered.Success, repeatable=False)

    async def revoke_other_sessions(self) -> None:
        """Revoke all of the user's tokens but this client's."""
        request = requested.Nothing()
        await self._line.ask("revoke_other_sessions", request, answered.Success)

    async def change_password(self, old: str, new: str) -> None:
        """Change the password; all of the user's tokens but this client's are revoked.

        Raises:
            Refused: among others `forbidden`, for a wrong `old`.
        """
        request = requested.ChangePassword(old, new)
        await self._line.ask("change_password", request, answered.Success, repeatable=False)
