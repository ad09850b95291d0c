"""E-mails about orders. What is owed is a row, written in the transaction of what it tells; the sweep sends it.

A broker, a mail server or a worker that is down delays a mail and loses none. A worker that dies between the mail
server's yes and the row's `mailed_at` sends it twice: of the two possible faults that is the smaller one.
Nothing in a mail opens anything: no access details, no card code; a link leads to the page that asks for the sign-in.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from . import mail
from .backoff import pause
from .choices import NoticeKind, ServiceState
from .models import Notice, Order, Service

logger = logging.getLogger(__name__)


def owe(order: Order, kind: NoticeKind, occasion: object) -> None:
    """Note that this has to be told, once; called inside the transaction that makes it true."""
    Notice.objects.bulk_create([Notice(order=order, kind=kind, occasion=str(occasion))], ignore_conflicts=True)


def owe_trouble(order: Order, occasion: object) -> None:
    """The member is told that staff look at it, and staff that they have to."""
    owe(order, NoticeKind.ATTENTION, occasion)
    alert_staff(order, occasion)


def alert_staff(order: Order, occasion: object) -> None:
    if settings.ORDER_ALERT_EMAILS:
        owe(order, NoticeKind.STAFF_ALERT, occasion)


def remind(limit: int = 1000) -> int:
    """Owe a reminder for what runs out in so many days as the settings say, each once; returns how many.

    A term that was hardly longer than the reminder's own time gets none: it would come with the opening.
    """
    now, owed, nearer = timezone.now(), 0, timedelta(0)
    for days in sorted(settings.REMIND_DAYS):
        told = Notice.objects.filter(
            order=OuterRef("order"), kind=NoticeKind.EXPIRING, expires_at=OuterRef("expires_at"), days=days
        )
        ending = Service.objects.filter(
            ~Exists(told),
            state=ServiceState.ACTIVE,
            wanted=ServiceState.ACTIVE,
            expires_at__gt=now + nearer,
            expires_at__lte=now + timedelta(days=days),
            starts_at__lte=F("expires_at") - timedelta(days=days + 1),
        )
        rows = [
            Notice(
                order_id=order_id,
                kind=NoticeKind.EXPIRING,
                occasion=f"{days} days before {end.isoformat()}",
                days=days,
                expires_at=end,
            )
            for order_id, end in ending.order_by("expires_at").values_list("order", "expires_at")[:limit]
        ]
        Notice.objects.bulk_create(rows, ignore_conflicts=True)
        owed, nearer = owed + len(rows), timedelta(days=days)
    return owed


def due_ids(limit: int) -> list[int]:
    due = Notice.objects.filter(next_attempt_at__lte=timezone.now())
    return list(due.order_by("next_attempt_at").values_list("pk", flat=True)[:limit])


def send(notice_id: int) -> bool:
    """Mail one notice that is due; False when it was not to be had."""
    now = timezone.now()
    taken = Notice.objects.filter(pk=notice_id, next_attempt_at__lte=now).update(
        next_attempt_at=now + settings.TASK_LEASE, attempts=F("attempts") + 1
    )
    if not taken:
        return False
    notice = Notice.objects.select_related("order__member", "order__service").get(pk=notice_id)
    if problem := _unmailable(notice, now):
        _record(notice, error=problem)
        return True
    try:
        mail.send(notice)
    except (SMTPException, OSError) as error:
        logger.warning("order %s: its mail could not be sent: %s", notice.order.number, type(error).__name__)
        give_up = notice.attempts >= settings.ORDER_MAX_ATTEMPTS
        _record(notice, error=type(error).__name__, again=None if give_up else now + pause(notice.attempts))
    else:
        _record(notice, mailed=timezone.now())
    return True


def send_due(limit: int = 1000) -> int:
    """Remind and mail in this process, without broker or worker; returns how many mails were tried."""
    remind(limit)
    return sum(send(notice_id) for notice_id in due_ids(limit))


def _unmailable(notice: Notice, now: datetime) -> str:
    """Why there is nothing to send (any more), or nothing."""
    if notice.kind != NoticeKind.STAFF_ALERT and not notice.order.member.email:
        return "no address"
    service = getattr(notice.order, "service", None)
    if notice.kind == NoticeKind.EXPIRING and (
        service is None or service.wanted != ServiceState.ACTIVE or service.expires_at != notice.expires_at
    ):
        return "no longer true"
    return ""


def _record(notice: Notice, *, error: str = "", mailed: datetime | None = None, again: datetime | None = None) -> None:
    """Only if this attempt is still the last one."""
    mine = Notice.objects.filter(pk=notice.pk, attempts=notice.attempts, mailed_at__isnull=True)
    mine.update(error=error, mailed_at=mailed, next_attempt_at=again)
