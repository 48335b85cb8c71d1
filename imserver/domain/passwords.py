"""Rules for passwords, and how they are compared."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from imserver.domain.errors import ApiError, Code

MIN_PASSWORD: Final = 8  # characters
MAX_PASSWORD: Final = 1024  # bytes in UTF-8

# Limits for the cost of one login. RFC 9106 section 4 recommends 64 MiB, 3 passes and 4 lanes.
MAX_MEMORY: Final = 64 * 1024  # KiB
MAX_PASSES: Final = 4
MAX_LANES: Final = 4
_HASH: Final = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]?),p=([1-9][0-9]?)"
    r"\$[A-Za-z0-9+/]{11,88}\$[A-Za-z0-9+/]{22,88}"
)


def normal(password: str) -> str:
    """The form in which passwords are compared: NFKC (NIST SP 800-63B, section 5.1.1.2).

    Keyboards and input methods encode the same characters in different ways.

    Raises:
        ApiError: `too_large`.
    """
    if len(password) <= MAX_PASSWORD:
        text = unicodedata.normalize("NFKC", password)
        if len(text.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD:
            return text
    raise ApiError(Code.TOO_LARGE, f"A password has at most {MAX_PASSWORD} bytes in UTF-8")


def is_bearable(known: str) -> bool:
    """Whether a text is an Argon2id hash (PHC string format) whose cost is within the limits."""
    found = _HASH.fullmatch(known)
    if found is None:
        return False
    memory, passes, lanes = map(int, found.groups())
    return memory <= MAX_MEMORY and passes <= MAX_PASSES and lanes <= MAX_LANES


def check_password(password: str, name: str = "password") -> str:
    """Return `password` if it may be a new password.

    Raises:
        ApiError: `invalid_request`, naming the field `name`, or `too_large`.
    """
    if len(normal(password)) < MIN_PASSWORD:
        raise ApiError(Code.INVALID_REQUEST, f"{name} must have at least {MIN_PASSWORD} characters")
    return password
