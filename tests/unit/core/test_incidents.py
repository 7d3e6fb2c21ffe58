"""An exception nobody expected: where it happened is told, what it says is not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from mcp_server.core.errors import InternalError, NotFoundError
from mcp_server.core.incidents import contain, report

VALUE = "canary-incident-1a2b3c4d"


def _raise_plainly() -> None:
    raise ValueError(VALUE)


def _raise_from_another() -> None:
    try:
        _raise_plainly()
    except ValueError as error:
        raise RuntimeError(VALUE) from error


def _raise_a_group() -> None:
    raise ExceptionGroup(VALUE, [ValueError(VALUE)])


def _raise_with_a_note() -> None:
    error = OSError(2, VALUE, VALUE)
    error.add_note(VALUE)
    raise error


@pytest.mark.parametrize(
    "fails", [_raise_plainly, _raise_from_another, _raise_a_group, _raise_with_a_note]
)
def test_the_log_gets_the_type_and_the_place_and_not_the_text(
    fails: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Exception, match=VALUE) as raised:
        fails()

    with caplog.at_level(logging.DEBUG):
        incident = report(raised.value)

    assert incident.incident in caplog.text
    assert incident.incident in str(incident)
    assert type(raised.value).__name__ in caplog.text
    assert fails.__name__ in caplog.text
    assert VALUE not in caplog.text
    assert VALUE not in f"{incident!s} {incident!r}"
    assert VALUE in str(raised.value) or VALUE in repr(raised.value)  # there was something to show


def test_an_error_of_ours_passes_as_it_is() -> None:
    error = NotFoundError()

    assert contain(error) is error


def test_anything_else_becomes_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    contained = contain(KeyError(VALUE))

    assert isinstance(contained, InternalError)
    assert contained.code == "INTERNAL"
    assert VALUE not in caplog.text


def test_each_incident_has_an_id_of_its_own() -> None:
    ids = {report(ValueError()).incident for _ in range(50)}

    assert len(ids) == 50
