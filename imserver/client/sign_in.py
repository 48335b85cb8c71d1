"""What is done over REST before there is a client, or after it: tokens on servers with accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import httpx
import msgspec

from imserver.client.client_errors import Refused, Unreachable
from imserver.client.route import Route
from imserver.domain import answered, requested

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")

_TIMEOUT: Final = 30.0  # seconds; a password takes its time


async def log_in(
    url: str,
    user_id: str,
    password: str,
    *,
    device: str | None = None,
    platform: str = "python",
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> answered.TokenIssued:
    """A token for a password, to be given to `open_client`.

    With `must_change_password` the password was for one login: the token is good for
    `set_password` alone until that is done.

    Raises:
        ValueError: the url or the proxy cannot be used.
        Refused: among others `wrong_credentials`, and `rate_limited` after wrong guesses.
        Unreachable: no answer.
    """
    request = requested.PasswordLogin(user_id, password, device, platform)
    route = Route(url, tls, proxy)
    return await _post(route, "/api/v1/auth/login", request, answered.TokenIssued)


async def set_password(
    url: str,
    token: str,
    old: str,
    new: str,
    *,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> None:
    """Change the password of the user whose token this is; their other tokens are revoked.

    Raises:
        ValueError: the url or the proxy cannot be used.
        Refused: among others `forbidden`, for a wrong `old`.
        Unreachable: no answer.
    """
    request = requested.ChangePassword(old, new)
    route = Route(url, tls, proxy)
    await _post(route, "/api/v1/auth/password", request, answered.Success, token)


async def log_out(
    url: str, token: str, *, tls: ssl.SSLContext | None = None, proxy: str | None = None
) -> None:
    """Revoke a token: whoever uses it is signed out.

    Raises:
        ValueError: the url or the proxy cannot be used.
        Refused: among others `unauthorized`, for a token that is no longer good.
        Unreachable: no answer.
    """
    route = Route(url, tls, proxy)
    await _post(route, "/api/v1/auth/logout", requested.Nothing(), answered.Success, token)


async def _post(
    route: Route, path: str, request: msgspec.Struct, answer: type[T], token: str | None = None
) -> T:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    try:
        async with route.http(_TIMEOUT) as http:
            response = await http.post(path, content=msgspec.json.encode(request), headers=headers)
        if response.status_code != 200:
            body = msgspec.json.decode(response.content, type=answered.ErrorBody)
            raise Refused(body.code, body.error, body.retry_after_ms)
        return msgspec.json.decode(response.content, type=answer)
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise Unreachable(f"{route.address.rest}{path}: {error}") from None
