"""THE TABLE: every operation there is, who may call it, and where each transport has it.

Transports, the OpenAPI document and the documentation's tests are all derived from it. Its rows
stand by subject, in the modules beside this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain.errors import Code
from imserver.service.operations import (
    administering,
    authenticating,
    connecting,
    governing,
    grouping,
    messaging,
    observing,
)

if TYPE_CHECKING:
    from imserver.service.engine import Operation

# What any operation may be refused with, besides its own errors.
COMMON_ERRORS: Final = (
    Code.INVALID_REQUEST,
    Code.RATE_LIMITED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    *connecting.OPERATIONS,
    *messaging.OPERATIONS,
    *grouping.OPERATIONS,
    *governing.OPERATIONS,
    *authenticating.OPERATIONS,
    *administering.OPERATIONS,
    *observing.OPERATIONS,
)
