"""What the e-mails about orders say, in the member's language and zone: a subject, a text and the same as HTML."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone, translation

from accounts.middleware import known_zone

from .choices import NoticeKind
from .models import Notice, Order


def send(notice: Notice) -> None:
    """Hand one notice to the mail server. Raises SMTPException or OSError."""
    message = compose(notice)
    message.send()


def compose(notice: Notice) -> EmailMultiAlternatives:
    order, member = notice.order, notice.order.member
    to_staff = notice.kind == NoticeKind.STAFF_ALERT
    language = settings.LANGUAGE_CODE if to_staff else language_of(order)
    zone = None if to_staff else known_zone(member.time_zone)
    with translation.override(language), timezone.override(zone or timezone.get_default_timezone()):
        context = {"language": language, "body": f"mail/{notice.kind}.txt", **_facts(notice, to_staff)}
        subject = " ".join(render_to_string(f"mail/{notice.kind}_subject.txt", context).split())
        text = render_to_string("mail/frame.txt", context)
        html = render_to_string("mail/frame.html", context)
    message = EmailMultiAlternatives(
        subject,
        text,
        to=settings.ORDER_ALERT_EMAILS if to_staff else [member.email],
        headers={"Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(html, "text/html")
    return message


def language_of(order: Order) -> str:
    """The language the member chose, else the one he used the portal in."""
    known = dict(settings.LANGUAGES)
    return next((code for code in (order.member.language, order.language) if code in known), settings.LANGUAGE_CODE)


def _facts(notice: Notice, to_staff: bool) -> dict[str, Any]:
    order = notice.order
    service = getattr(order, "service", None)
    path = f"/staff/orders/{order.number}/" if to_staff else f"/orders/{order.number}/"
    if notice.kind == NoticeKind.EXPIRING:
        path = f"/services/{order.number}/"
    return {
        "order": order,
        "service": service,
        "days": notice.days,
        "title": settings.SITE_NAME or settings.PORTAL_TITLE,
        "support": "" if to_staff else settings.SUPPORT_CONTACT,
        "url": f"{settings.SITE_URL}{path}",
    }
