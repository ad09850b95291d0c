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

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from .choices import AttemptOutcome
from .models import ProvisioningAttempt, Service
from .provisioning.base import FULL, Provisioner, ProvisionerError
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


KINDS = {
    AttemptOutcome.TRANSIENT: "TransientError",
    AttemptOutcome.PERMANENT: "PermanentError",
    AttemptOutcome.UNKNOWN: "OutcomeUnknown",
}


def attempt_says(attempt: ProvisioningAttempt) -> str:
    """The trouble of an attempt in the reader's language, by its class; empty when there was none."""
    kind = "NoCapacity" if lacked_capacity(attempt) else KINDS.get(AttemptOutcome(attempt.outcome))
    return trouble_text(kind) if kind else ""


def lacked_capacity(attempt: ProvisioningAttempt) -> bool:
    """The provisioner was full, or our quota there used up: somebody has to add some."""
    return attempt.outcome == AttemptOutcome.TRANSIENT and attempt.error.startswith(FULL)


def next_step(attempt: ProvisioningAttempt) -> str:
    """What staff can do about an order whose last attempt ended like this; empty when there was no trouble."""
    if lacked_capacity(attempt):
        return _(
            "Nothing was made there. Add capacity: room or a larger quota at the provisioner, or machines in the "
            "inventory. Then restart the order."
        )
    return {
        AttemptOutcome.TRANSIENT: _(
            "Nothing was made there. See whether the provisioner can be reached, has room and is set up rightly, "
            "then restart the order."
        ),
        AttemptOutcome.PERMANENT: _(
            "Read its own words below and correct the cause (the card's configuration, the image, the domain, our "
            "account there), then restart the order; or cancel it, and the card is returned."
        ),
        AttemptOutcome.UNKNOWN: _(
            "Something may exist there. Restarting is safe: the portal looks for it first and makes it only if there "
            "is none. Do not open it a second time by hand."
        ),
    }.get(AttemptOutcome(attempt.outcome), "")


def change_says(service: Service) -> str:
    """The trouble of a service's change, and what comes next, in the reader's language; empty when there is none."""
    if not service.last_error:
        return ""
    if not service.needs_attention:
        return _("The last try did not succeed; the portal tries again by itself.")
    if service.by_hand:
        return _("The service was opened by hand: carry the change out there, then mark it as done.")
    if service.attempts >= settings.ORDER_MAX_ATTEMPTS:
        return _(
            "It did not succeed in %(n)d tries. See whether the provisioner can be reached, then decide again."
        ) % {"n": service.attempts}
    return trouble_text("PermanentError")


def trouble_text(kind: str) -> str:
    return {
        "TransientError": _("The provisioner cannot do it at the moment; the same may succeed later."),
        "NoCapacity": _("The provisioner is full, or our quota there is used up."),
        "PermanentError": _("The provisioner refuses; trying again changes nothing."),
        "OutcomeUnknown": _("The provisioner did not give a clear answer."),
    }.get(kind, _("The provisioner reports trouble."))
