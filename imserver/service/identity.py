"""Who a request is from: one implementation of `Identity` a mode.

Transports hand over what a request brings and believe nothing themselves. Law: in every mode but
`open` what a client calls itself decides nothing; where it is not who the caller was found to be,
the request is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Grant, check_user_id

if TYPE_CHECKING:
    from imserver.domain.frames import Login
    from imserver.live.hub import Session

USER_HEADER: Final = "X-User-ID"

Head = Callable[[str], Sequence[bytes]]
"""A request's head: every value of the header of a name, in whatever case, as it came."""

LookUp = Callable[[], Awaitable[Grant]]
"""What has to be waited for until it is known who calls; raises `ApiError` as the others do."""


class Identity(ABC):
    """Finds out who calls. Raises `ApiError` where nobody is found, and says why."""

    mode: ClassVar[str]
    scheme: ClassVar[dict[str, Any]]  # how REST calls say who calls, for OpenAPI
    challenge: ClassVar[str | None] = None  # `WWW-Authenticate` of a 401

    @abstractmethod
    def of_request(self, head: Head) -> Grant | LookUp:
        """Who a REST call is from.

        Raises:
            ApiError: `unauthorized`, `forbidden` or `invalid_request`.
        """

    def of_handshake(self, head: Head) -> str:
        """Whom a WebSocket's handshake names, as far as that counts; its session keeps it.

        Raises:
            ApiError: `unauthorized` or `invalid_request`: no session begins.
        """
        return ""

    @abstractmethod
    def of_login(self, session: Session, request: Login) -> Grant | LookUp:
        """Who a `login` is from.

        Raises:
            ApiError: `unauthorized`, `forbidden` or `invalid_request`.
        """

    def check_claim(self, grant: Grant, user_id: str | None) -> None:
        """Hold a caller to what they call themselves in a frame, if they do.

        Raises:
            ApiError: `forbidden` where that is somebody else.
        """
        if user_id and user_id != grant.user_id:
            raise ApiError(Code.FORBIDDEN, "user_id is not who this connection is")


class OpenIdentity(Identity):
    """Callers are whoever they say they are, as the API document has it."""

    mode = "open"
    scheme: ClassVar[dict[str, Any]] = {"type": "apiKey", "in": "header", "name": USER_HEADER}

    def of_request(self, head: Head) -> Grant:
        """See `Identity`: `unauthorized` without the header, `invalid_request` for a bad one."""
        user_id = the_one(head, USER_HEADER)
        if not user_id:
            raise ApiError(Code.UNAUTHORIZED)
        return Grant(check_user_id(user_id, USER_HEADER))

    def of_login(self, session: Session, request: Login) -> Grant:
        """See `Identity`: `unauthorized` without a `user_id`, `invalid_request` for a bad one."""
        if not request.user_id:
            raise ApiError(Code.UNAUTHORIZED, "user_id is required")
        return Grant(check_user_id(request.user_id))

    def check_claim(self, grant: Grant, user_id: str | None) -> None:
        """Nothing: the document's clients may say there what they like."""


def the_one(head: Head, name: str) -> str:
    """What a header says, or "" without it; its bytes are UTF-8. Said twice alike, it counts once.

    Raises:
        ApiError: `invalid_request`: it says two things, or is not UTF-8.
    """
    given = set(head(name)) - {b""}
    if not given:
        return ""
    if len(given) > 1:
        raise ApiError(Code.INVALID_REQUEST, f"{name} is given twice")
    try:
        return given.pop().decode()
    except UnicodeDecodeError:
        raise ApiError(Code.INVALID_REQUEST, f"{name} is not UTF-8") from None
