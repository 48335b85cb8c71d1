"""The catalogue of refusals is closed, whole and speaks in sentences."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from imserver.domain.errors import CATALOGUE, CLOSE_REASONS, ApiError, CloseCode, Code


def test_every_code_stands_in_the_catalogue() -> None:
    assert list(CATALOGUE) == list(Code)


@pytest.mark.parametrize("code", Code)
def test_a_refusal_has_a_status_and_a_sentence(code: Code) -> None:
    fault = CATALOGUE[code]
    assert HTTPStatus(fault.status) >= 400
    assert fault.sentence
    assert fault.sentence[-1] != "."
    assert fault.meaning.endswith(".")
    error = ApiError(code)
    assert (error.status, error.detail, error.retry_after_ms) == (
        fault.status,
        fault.sentence,
        None,
    )
    assert str(error) == fault.sentence


def test_a_refusal_may_say_more() -> None:
    error = ApiError(Code.RATE_LIMITED, "Slower, please", retry_after_ms=20)
    assert (error.detail, error.retry_after_ms, error.status) == ("Slower, please", 20, 429)


@pytest.mark.parametrize("code", CloseCode)
def test_a_close_code_has_a_reason_that_fits_its_frame(code: CloseCode) -> None:
    # RFC 6455 section 5.5: 125 bytes, of which the code takes two; 7.4.2: ours are from 4000.
    assert 0 < len(CLOSE_REASONS[code].encode()) <= 123
    assert 1000 <= code <= 1011 or 4000 <= code <= 4999


def test_no_reason_is_left_over() -> None:
    assert set(CLOSE_REASONS) == set(CloseCode)
