"""The rest of what holds on a plain connection, over TLS.

Left out is what looks at the plain socket itself, and what takes long and meets no other code.
"""

from __future__ import annotations

import pytest

from tests.transport import (
    test_carried_session,
    test_forwarded,
    test_frames,
    test_goodbye,
    test_late_upgrade,
    test_rest_connections,
    test_slow,
    test_stopping,
)
from tests.transport.over_tls import everywhere, repeated

__all__ = ["everywhere"]

pytestmark = pytest.mark.nightly
MODULES = (
    test_carried_session,
    test_forwarded,
    test_frames,
    test_goodbye,
    test_late_upgrade,
    test_rest_connections,
    test_slow,
    test_stopping,
)

short_linger = test_slow.short_linger
globals().update(repeated(MODULES))
