"""An outage is a line in the log; anything else keeps its traceback."""

from __future__ import annotations

import logging

import pytest
from celery.beat import SchedulingError
from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

from pickup_portal.logs import OutageInALine


def logged(name: str, error: Exception, message: str) -> str:
    try:
        raise error
    except Exception as caught:
        record = logging.LogRecord(
            name, logging.ERROR, "", 1, message, None, (type(caught), caught, caught.__traceback__)
        )
    assert OutageInALine().filter(record)
    return logging.Formatter("%(message)s").format(record)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            SchedulingError("Couldn't apply scheduled task sweep:\n refused"),
            "Couldn't apply scheduled task sweep: refused",
        ),
        (OperationalError("refused"), "Task sweep raised unexpected"),
        (BrokerError("refused"), "Task sweep raised unexpected"),
    ],
)
def test_an_outage_is_a_line(error: Exception, told: str) -> None:
    assert logged("celery.app.trace", error, "Task sweep raised unexpected") == told


def test_anything_else_keeps_its_traceback() -> None:
    assert "Traceback" in logged("celery.app.trace", KeyError("x"), "Task sweep raised unexpected")
    assert "Traceback" in logged("django.request", OperationalError("refused"), "Internal Server Error: /")
