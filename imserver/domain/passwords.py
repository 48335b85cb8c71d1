"""What a password may be, and when two are the same."""

from __future__ import annotations

import unicodedata
from typing import Final

from imserver.domain.errors import ApiError, Code

MIN_PASSWORD: Final = 8  # characters
MAX_PASSWORD: Final = 1024  # bytes in UTF-8


def normal(password: str) -> str:
    """The form in which passwords are compared: NFKC (NIST SP 800-63B, section 5.1.1.2).

    So however a keyboard or an input method puts the same characters, they are the same.

    Raises:
        ApiError: `too_large`.
    """
    if len(password) <= MAX_PASSWORD:
        text = unicodedata.normalize("NFKC", password)
        if len(text.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD:
            return text
    raise ApiError(Code.TOO_LARGE, f"A password has at most {MAX_PASSWORD} bytes in UTF-8")


def check_password(password: str, name: str = "password") -> str:
    """Return `password` if it may become one.

    Raises:
        ApiError: `invalid_request`, naming the field `name`, or `too_large`.
    """
    if len(normal(password)) < MIN_PASSWORD:
        raise ApiError(Code.INVALID_REQUEST, f"{name} must have at least {MIN_PASSWORD} characters")
    return password
