"""The vocabulary of the portal's templates; every tag is a builtin, so no template loads it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django import template
from django.forms import BaseForm, BoundField
from django.template.context import Context
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from accounts import browsers
from accounts.money import shown
from accounts.paging import KeysetPage
from cards.choices import BatchShown, CardStatus, ListOutcome
from cards.days import day_of
from orders.choices import MachineState, OrderState, ServiceState

register = template.Library()

NOTHING = "—"

# kind -> (choices, {value: (colour, icon)}); the colours are classes of portal.css. One place for all pages.
STATES: dict[str, tuple[Any, dict[str, tuple[str, str]]]] = {
    "batch": (
        BatchShown,
        {
            "waiting": ("amber", "clock"),
            "generating": ("blue", "loader"),
            "cancelled": ("grey", "x-circle"),
            "normal": ("green", "check-circle"),
            "disabled": ("red", "ban"),
            "expired": ("amber", "calendar-x"),
            "used_up": ("grey", "check-check"),
        },
    ),
    "card": (
        CardStatus,
        {"unused": ("green", "circle"), "used": ("grey", "check-check"), "disabled": ("red", "ban")},
    ),
    "outcome": (
        ListOutcome,
        {
            "to_disable": ("red", "ban"),
            "disabled": ("red", "ban"),
            "already": ("grey", "ban"),
            "used": ("amber", "check-check"),
            "unknown": ("amber", "alert"),
            "no_code": ("amber", "alert"),
            "twice": ("grey", "circle"),
        },
    ),
    "order": (
        OrderState,
        {
            "pending": ("cyan", "clock"),
            "provisioning": ("blue", "loader"),
            "active": ("green", "check-circle"),
            "needs_attention": ("amber", "alert"),
            "failed": ("red", "x-circle"),
            "cancelled": ("grey", "undo"),
            "closed": ("grey", "circle"),
        },
    ),
    "service": (
        ServiceState,
        {"active": ("green", "check-circle"), "suspended": ("amber", "pause"), "terminated": ("grey", "stop")},
    ),
    "machine": (
        MachineState,
        {
            "free": ("green", "check-circle"),
            "assigned": ("blue", "check-check"),
            "cleaning": ("amber", "clock"),
            "out": ("red", "ban"),
        },
    ),
}


@cache
def _icon(name: str) -> SafeString:
    try:
        return mark_safe(get_template(f"includes/icons/{name}.html").render().strip())  # noqa: S308  (our own file)
    except TemplateDoesNotExist:
        return _icon("circle")


@register.simple_tag
def icon(name: str) -> SafeString:
    """An inline SVG, hidden from screen readers: the text beside it says what it means."""
    return _icon(name)


@register.simple_tag
def state(value: Any, kind: str) -> SafeString:
    """A badge: colour, icon and text, the same wherever this state appears."""
    choices, looks = STATES[kind]
    member = choices(value)
    colour, name = looks[member.value]
    return format_html('<span class="state state-{}">{}{}</span>', colour, _icon(name), member.label)


@register.simple_tag
def when(value: datetime | None) -> SafeString | str:
    """An instant in the reader's zone, to the minute; seconds and zone on hover."""
    if value is None:
        return NOTHING
    local = timezone.localtime(value)
    offset = local.strftime("%z")
    zone = f"{local.tzname() or ''} UTC{offset[:3]}:{offset[3:]}".strip()
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S} {zone}",
        f"{local:%Y-%m-%d %H:%M}",
    )


@register.simple_tag
def zone() -> str:
    """The reader's zone, such as "Asia/Shanghai (UTC+08:00)"."""
    offset = timezone.localtime().strftime("%z")
    return f"{timezone.get_current_timezone_name()} (UTC{offset[:3]}:{offset[3:]})"


@register.filter
def browser(user_agent: str) -> str:
    return browsers.name_of(user_agent)


@register.simple_tag
def day(value: date | datetime | None) -> SafeString | str:
    """A calendar day; an instant is taken in the portal's own zone, in which cards expire."""
    if value is None:
        return NOTHING
    if isinstance(value, datetime):
        value = day_of(value)
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), f"{value:%Y-%m-%d}")


@register.simple_tag
def money(amount: Decimal | int | None, currency: str = "") -> SafeString | str:
    """An amount with its currency, two decimals, tabular figures."""
    if amount is None:
        return NOTHING
    return format_html('<span class="money">{}</span>', shown(amount, currency))


@register.simple_tag
def rate(part: int, whole: int) -> str:
    """Percent without decimals that says 0 and 100 only of none and of all: 1 of 500 is "<1%"."""
    if not 0 < part < whole:
        return "100%" if part and part >= whole else "0%"
    percent = round(100 * part / whole)
    return "<1%" if percent == 0 else ">99%" if percent == 100 else f"{percent}%"


@register.simple_tag
def card_code(last4: str) -> SafeString:
    """A card's code as lists show it: all but the last four characters hidden."""
    return format_html('<span class="code"><span class="code-hidden" aria-hidden="true">••••• </span>{}</span>', last4)


@register.simple_tag(takes_context=True)
def staff_card_code(context: Context, last4: str) -> SafeString:
    """The same on a staff page, the last four only for readers who may see them."""
    if context["perms"]["cards"]["view_last4"]:
        return card_code(last4)
    return format_html(
        '<span class="code"><span class="code-hidden" aria-hidden="true">•••••</span>'
        '<span class="visually-hidden">{}</span></span>',
        _("hidden"),
    )


@register.simple_tag
def field(bound: BoundField | str) -> SafeString | str:
    """Label, widget, help and errors of one form field."""
    return bound.as_field_group() if isinstance(bound, BoundField) else ""


@register.inclusion_tag("includes/form_fields.html")
def form_fields(form: BaseForm) -> dict[str, Any]:
    """All fields of a form with the form's own errors above them."""
    return {"form": form}


@register.inclusion_tag("includes/empty_state.html")
def empty_state(title: str, text: str = "", url: str = "", label: str = "") -> dict[str, Any]:
    """What an empty list says: what would stand here, and what to do next."""
    return {"title": title, "text": text, "url": url, "label": label}


@register.inclusion_tag("includes/pages.html", takes_context=True)
def pages(context: template.Context, page: KeysetPage[Any]) -> dict[str, Any]:
    """The way to the neighbouring pages of a list, keeping its filters."""

    def url(parameters: dict[str, Any] | None) -> str:
        if parameters is None:
            return ""
        query = context["request"].GET.copy()
        for name in ("before", "after"):
            query.pop(name, None)
        for name, value in parameters.items():
            query[name] = str(value)
        return f"?{query.urlencode()}"

    return {"previous_url": url(page.previous_query), "next_url": url(page.next_query)}
