"""What an outage looks like in the log: a line each time, not eighty."""

from __future__ import annotations

import logging

from celery.beat import SchedulingError
from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

OUTAGES = (OperationalError, BrokerError, SchedulingError)


class OutageInALine(logging.Filter):
    """Takes the traceback from what Celery logs when database or broker are away: beat and worker try every second."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if record.name.startswith("celery.") and isinstance(error, OUTAGES):
            record.exc_info = record.exc_text = None
            if isinstance(error, SchedulingError):  # beat puts its whole stack into the message
                record.msg, record.args = " ".join(str(error).split()), None
        return True
