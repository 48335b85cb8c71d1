"""Scenarios that take `transport` run over WebSocket and REST."""

from __future__ import annotations

import pytest

from tests.contract.api import TRANSPORTS


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    return request.param
