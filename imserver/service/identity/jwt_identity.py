"""The `jwt` mode: an application signs its users' tokens (RFC 7519), and this server checks them.

A token is a bearer's: whoever shows it is its user until it expires. Nothing of a token is ever
logged or repeated, whatever is wrong with it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import jwt

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Grant, check_user_id
from imserver.service.identity.modes import BearerIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from imserver.service.identity.jwt_keys import Keys

MAX_TOKEN: Final = 8 * 1024  # characters


class JwtIdentity(BearerIdentity):
    """Callers are whom a token of theirs names."""

    mode = "jwt"

    def __init__(
        self,
        keys: Keys,
        clock: Callable[[], int],
        *,
        issuer: str = "",
        audience: str = "",
        user_claim: str = "sub",
        leeway: float = 0.0,
        administrators: Collection[str] = (),
    ) -> None:
        self._keys = keys
        self._clock = clock  # milliseconds since the epoch
        self._issuer = issuer or None
        self._audience = audience or None
        self._user_claim = user_claim
        self._leeway = leeway  # seconds by which clocks may differ
        self._administrators = frozenset(administrators)

    @property
    def scheme(self) -> dict[str, str]:
        """See `Identity`."""
        return super().scheme | {"bearerFormat": "JWT"}

    def reload(self) -> None:
        """See `Identity`."""
        self._keys.reload()

    def of_token(self, token: str) -> Grant:
        """See `BearerIdentity`."""
        claims = self._verified(token)
        now = self._clock() / 1000
        expires = _time(claims, "exp")
        if expires is None or expires + self._leeway <= now:
            raise ApiError(Code.UNAUTHORIZED, "The token has expired")
        for name in ("nbf", "iat"):
            time = _time(claims, name)
            if time is not None and time > now + self._leeway:
                raise ApiError(Code.UNAUTHORIZED, "The token is not valid yet")
        user_id = claims.get(self._user_claim)
        if not isinstance(user_id, str):
            raise ApiError(Code.UNAUTHORIZED, "The token names no user")
        try:
            check_user_id(user_id)
        except ApiError as error:
            code = Code.UNAUTHORIZED if error.code is Code.INVALID_REQUEST else error.code
            raise ApiError(code, f"The token's user cannot be one: {error}") from None
        return Grant(
            user_id,
            administrator=user_id in self._administrators,
            expires=int((expires + self._leeway) * 1000),
        )

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN or not token.isascii():
            raise ApiError(Code.UNAUTHORIZED, "The token is not valid")
        try:
            key = self._keys.find(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                raise ApiError(Code.UNAUTHORIZED, "The token is signed with an unknown key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                # Times are held to the server's own clock.
                options={
                    "require": ["exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidAudienceError:
            raise ApiError(Code.UNAUTHORIZED, "The token is for another audience (aud)") from None
        except jwt.InvalidIssuerError:
            raise ApiError(Code.UNAUTHORIZED, "The token is from another issuer (iss)") from None
        except jwt.MissingRequiredClaimError as error:
            # Of those that are asked for, and so not of what the client wrote.
            raise ApiError(Code.UNAUTHORIZED, f"The token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise ApiError(Code.UNAUTHORIZED, "The token is not valid") from None
        return claims


def _time(claims: dict[str, Any], name: str) -> float | None:
    """A claim that is a time, in seconds since the epoch (RFC 7519 section 2, NumericDate)."""
    value = claims.get(name)
    if value is None:
        return None
    try:
        time = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, OverflowError):
        time = math.nan
    if not 0 <= time <= _MOST_TIME:  # not a number is neither
        raise ApiError(Code.UNAUTHORIZED, "The token is not valid")
    return time


_MOST_TIME: Final = 1e12  # seconds; beyond, milliseconds were meant, or mischief
