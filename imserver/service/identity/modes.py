"""Identifying callers: one implementation of `Identity` for each mode.

Transports pass on a request's headers and do not interpret them. Law: in every mode except `open`,
the name that a client gives itself proves nothing. If it differs from the authenticated user, the
request is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Grant, Peer, check_user_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from imserver.domain.requested import Login
    from imserver.live.hub import Session

USER_HEADER: Final = "X-User-ID"
AUTHORIZATION: Final = "Authorization"

Head = Callable[[str], Sequence[bytes]]
"""A request's head: every value of the header of a name, in whatever case, as it came."""


class Identity(ABC):
    """Identifies callers. Raises `ApiError` with the reason if it cannot."""

    mode: ClassVar[str]
    challenge: ClassVar[str | None] = None  # `WWW-Authenticate` of a 401
    proves: ClassVar[bool] = True  # whether callers are authenticated, and not just believed

    @property
    @abstractmethod
    def scheme(self) -> dict[str, str]:
        """How REST calls say who calls: a security scheme of OpenAPI."""

    @abstractmethod
    def of_request(self, peer: Peer, head: Head) -> Grant:
        """Who a REST call is from.

        Raises:
            ApiError: `unauthorized`, `forbidden` or `invalid_request`.
        """

    def of_handshake(self, peer: Peer, head: Head) -> str:
        """The user that a WebSocket's handshake names, if that counts; the session keeps it.

        Raises:
            ApiError: `unauthorized`, `forbidden` or `invalid_request`: no session begins.
        """
        return ""

    @abstractmethod
    def of_login(self, session: Session, request: Login) -> Grant:
        """Who a `login` is from.

        Raises:
            ApiError: `unauthorized`, `forbidden` or `invalid_request`.
        """

    def check_claim(self, grant: Grant, user_id: str | None) -> None:
        """Hold a caller to what they call themselves in a frame, if they do.

        Raises:
            ApiError: `forbidden` where that is somebody else.
        """
        held_to(grant, {"user_id": user_id})

    def reload(self) -> None:  # noqa: B027 - most modes have no files
        """Read again what was read from files; where that fails, what was read before stays."""


class OpenIdentity(Identity):
    """Callers are whoever they say they are, as the API document has it."""

    mode = "open"
    proves = False

    @property
    def scheme(self) -> dict[str, str]:
        """See `Identity`."""
        return {"type": "apiKey", "in": "header", "name": USER_HEADER}

    def of_request(self, peer: Peer, head: Head) -> Grant:
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


class ProxyIdentity(Identity):
    """A trusted reverse proxy names the caller, in a header that nobody else may set."""

    mode = "proxy"

    def __init__(self, user_header: str, administrators: Collection[str] = ()) -> None:
        self._user_header = user_header
        self._administrators = frozenset(administrators)

    @property
    def scheme(self) -> dict[str, str]:
        """See `Identity`."""
        return {"type": "apiKey", "in": "header", "name": self._user_header}

    def of_request(self, peer: Peer, head: Head) -> Grant:
        """See `Identity`."""
        user_id = self.of_handshake(peer, head)
        return Grant(user_id, user_id in self._administrators)

    def of_handshake(self, peer: Peer, head: Head) -> str:
        """See `Identity`: no session begins for nobody."""
        if not peer.proxied:
            raise ApiError(Code.UNAUTHORIZED, "Requests must come through the reverse proxy")
        name = self._user_header
        given = head(name)
        if len(given) > 1 or any(b"," in value for value in given):
            # Two by RFC 9110 section 5.3: one of them may be the client's.
            raise ApiError(Code.INVALID_REQUEST, f"{name} is given twice")
        user_id = the_one(head, name)
        if not user_id:
            raise ApiError(Code.UNAUTHORIZED, f"{name} is required")
        held_to(Grant(check_user_id(user_id, name)), _claimed(head))
        return user_id

    def of_login(self, session: Session, request: Login) -> Grant:
        """See `Identity`: the handshake has said it already."""
        grant = Grant(session.claim, session.claim in self._administrators)
        return held_to(grant, {"user_id": request.user_id})


class BearerIdentity(Identity):
    """A token names the caller: as a bearer token over REST (RFC 6750), in `login` otherwise."""

    challenge = "Bearer"

    @property
    def scheme(self) -> dict[str, str]:
        """See `Identity`."""
        return {"type": "http", "scheme": "bearer"}

    @abstractmethod
    def of_token(self, token: str) -> Grant:
        """Whose token it is; it is not empty, and may be anything.

        Raises:
            ApiError: `unauthorized`, or `forbidden` where it names the server itself.
        """

    def of_request(self, peer: Peer, head: Head) -> Grant:
        """See `Identity`: the token is that of `Authorization: Bearer`."""
        given = head(AUTHORIZATION)
        if len(given) > 1:
            raise ApiError(Code.INVALID_REQUEST, f"{AUTHORIZATION} is given twice")
        scheme, _, token = given[0].partition(b" ") if given else (b"", b"", b"")
        if scheme.lower() != b"bearer" or not (token := token.strip()):
            raise ApiError(Code.UNAUTHORIZED, f"A token is required, as {AUTHORIZATION}: Bearer")
        return held_to(self.of_token(token.decode("latin-1")), _claimed(head))

    def of_handshake(self, peer: Peer, head: Head) -> str:
        """See `Identity`: whom the client's header names; its login has to agree."""
        return the_one(head, USER_HEADER)

    def of_login(self, session: Session, request: Login) -> Grant:
        """See `Identity`: the token is that of the frame."""
        if not request.token:
            raise ApiError(Code.UNAUTHORIZED, "A token is required")
        claims = {"user_id": request.user_id, USER_HEADER: session.claim}
        return held_to(self.of_token(request.token), claims)


def _claimed(head: Head) -> dict[str, str]:
    """The name that a client gives itself in `X-User-ID`. Two different ones match nobody."""
    given = {value.decode("utf-8", "replace") for value in head(USER_HEADER)} - {""}
    return {USER_HEADER: ", ".join(given)}


def held_to(grant: Grant, claims: Mapping[str, str | None]) -> Grant:
    """Hold a caller to what they call themselves elsewhere, by where; "" and None are no claims.

    Raises:
        ApiError: `forbidden` where that is somebody else.
    """
    for name, claim in claims.items():
        if claim and claim != grant.user_id:
            raise ApiError(Code.FORBIDDEN, f"{name} must be the caller's own user id")
    return grant


def must_change_first() -> ApiError:
    """The refusal for users who must change their password first."""
    return ApiError(
        Code.FORBIDDEN,
        "The password was for one login only: change it with POST /api/v1/auth/password",
    )


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
