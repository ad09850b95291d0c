"""Asking a provisioner something while a person waits: never longer than a few seconds, whatever hangs there.

The question runs in a thread of its own. One that does not come back in time is left to its own time-outs; as long as
too many of those hang, nothing more is asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from .choices import AttemptOutcome
from .models import ProvisioningAttempt
from .provisioning.base import Provisioner, ProvisionerError
from .provisioning.registry import get_provisioner

LIMIT = timedelta(seconds=5)
MOST_AT_ONCE = 4
_places = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True)
class Answer:
    """`error` is empty when the provisioner answered; `raw` is its own text, for a disclosure."""

    provisioner: str
    seconds: float
    lines: tuple[str, ...] = ()
    keys: tuple[UUID, ...] = ()
    error: str = ""
    raw: str = ""


def check(key: str) -> Answer:
    """Whether the provisioner can be reached and accepts our credentials; creates nothing."""
    return _ask(key, lambda provisioner: (tuple(provisioner.check()), ()))


def list_keys(key: str) -> Answer:
    """The keys of what exists there."""
    return _ask(key, lambda provisioner: ((), tuple(provisioner.list_keys())))


def _ask(key: str, question: Callable[[Provisioner], tuple[tuple[str, ...], tuple[UUID, ...]]]) -> Answer:
    if not _places.acquire(blocking=False):
        return Answer(key, 0, error=_("Several provisioners hang at the moment. Try again in a minute."))
    started, answers = time.monotonic(), list[Answer]()

    def run() -> None:
        try:
            lines, keys = question(get_provisioner(key))
            answers.append(Answer(key, time.monotonic() - started, lines, keys))
        except (ProvisionerError, ImproperlyConfigured) as trouble:
            answers.append(Answer(key, time.monotonic() - started, error=says(trouble), raw=str(trouble)))
        except Exception as bug:  # an adapter's bug, whose text may hold anything
            answers.append(Answer(key, time.monotonic() - started, error=says(bug), raw=type(bug).__name__))
        finally:
            _places.release()

    thread = threading.Thread(target=run, name=f"probe-{key}", daemon=True)
    thread.start()
    thread.join(LIMIT.total_seconds())
    if answers:
        return answers[0]
    seconds = round(LIMIT.total_seconds())
    return Answer(key, seconds, error=_("No answer within %(n)d seconds.") % {"n": seconds})


def says(trouble: Exception) -> str:
    """The class of a provisioner's trouble in the reader's language."""
    if isinstance(trouble, ImproperlyConfigured):
        return _("The settings of this provisioner are wrong.")
    return trouble_text(type(trouble).__name__)


def attempt_says(attempt: ProvisioningAttempt) -> str:
    """The trouble of an attempt in the reader's language, by its class; empty when there was none."""
    kinds = {
        AttemptOutcome.TRANSIENT: "TransientError",
        AttemptOutcome.PERMANENT: "PermanentError",
        AttemptOutcome.UNKNOWN: "OutcomeUnknown",
    }
    kind = kinds.get(AttemptOutcome(attempt.outcome))
    return trouble_text(kind) if kind else ""


def trouble_text(kind: str) -> str:
    return {
        "TransientError": _("The provisioner cannot do it at the moment; the same may succeed later."),
        "NoCapacity": _("The provisioner is full."),
        "PermanentError": _("The provisioner refuses; trying again changes nothing."),
        "OutcomeUnknown": _("The provisioner did not give a clear answer."),
    }.get(kind, _("The provisioner reports trouble."))
