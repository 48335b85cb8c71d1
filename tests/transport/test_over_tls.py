"""What holds on a plain connection holds over TLS: tests of both lanes, once more.

The other modules of the lanes are repeated at night: `test_more_over_tls.py`.
"""

from __future__ import annotations

from tests.contract import test_operations
from tests.transport import test_handshake, test_order, test_rest_lane
from tests.transport.over_tls import everywhere, repeated

__all__ = ["everywhere"]

test_every_operation = test_operations.test_scenario
globals().update(repeated((test_handshake, test_order, test_rest_lane)))
