"""What every page knows: the portal's name, its surface and the way around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True)
class NavItem:
    """One line of a menu. `marks`: the view names under which it shows as current."""

    view: str
    label: Any
    icon: str
    marks: tuple[str, ...] = ()
    permission: str = ""


STAFF_NAV = (
    NavItem("staff-orders:dashboard", _("Dashboard"), "monitor", ("staff-orders:dashboard",), "cards.view_batch"),
    NavItem(
        "staff:batch-list",
        _("Pickup cards"),
        "card",
        (
            "staff:batch-list",
            "staff:batch-detail",
            "staff:batch-download",
            "staff:batch-disable",
            "staff:batch-enable",
            "staff:batch-extend",
            "staff:batch-add-cards",
            "staff:batch-cancel",
            "staff:cards-disable",
            "staff:selection-disable",
            "staff:batch-approve",
            "staff:card-disable",
            "staff:card-enable",
            "staff:card-replace",
            "staff:card-reveal",
        ),
        "cards.view_batch",
    ),
    NavItem(
        "staff:batch-add",
        _("Add pickup cards"),
        "plus",
        ("staff:batch-add", "staff:batch-add-type"),
        "cards.add_batch",
    ),
    NavItem("staff:card-find", _("Find a card"), "search", ("staff:card-find",), "cards.view_card"),
    NavItem("staff:usage-log", _("Usage log"), "history", ("staff:usage-log",), "cards.view_carduse"),
    NavItem(
        "staff-orders:list",
        _("Pickup orders"),
        "receipt",
        (
            "staff-orders:list",
            "staff-orders:detail",
            "staff-orders:cancel",
            "staff-orders:settle",
            "staff-orders:redeem",
        ),
        "orders.view_order",
    ),
    NavItem(
        "staff-orders:service-list",
        _("Services"),
        "monitor",
        (
            "staff-orders:service-list",
            "staff-orders:service",
            "staff-orders:service-suspend",
            "staff-orders:service-resume",
            "staff-orders:service-extend",
            "staff-orders:service-settle",
            "staff-orders:service-terminate",
        ),
        "orders.view_service",
    ),
    NavItem(
        "staff-orders:member-list",
        _("Members"),
        "users",
        (
            "staff-orders:member-list",
            "staff-orders:member",
            "staff-orders:member-top-up",
            "staff-orders:member-correct",
            "staff-orders:member-disable",
            "staff-orders:member-enable",
        ),
        "accounts.view_user",
    ),
    NavItem(
        "staff:line-list",
        _("Catalogue"),
        "server",
        (
            "staff:line-list",
            "staff:line-add",
            "staff:line-detail",
            "staff:line-edit",
            "staff:image-add",
            "staff:image-edit",
            "staff:server-model-add",
            "staff:server-model-edit",
            "staff:system-list",
            "staff:system-add",
            "staff:system-edit",
        ),
        "cards.view_line",
    ),
    NavItem(
        "staff-orders:machine-list",
        _("Machines"),
        "server",
        (
            "staff-orders:machine-list",
            "staff-orders:machine-add",
            "staff-orders:machine-edit",
            "staff-orders:machine-out",
            "staff-orders:machine-back",
        ),
        "orders.view_machine",
    ),
    NavItem(
        "staff-orders:provisioner-list",
        _("Provisioners"),
        "cloud",
        ("staff-orders:provisioner-list", "staff-orders:provisioner-check", "staff-orders:provisioner-orphans"),
        "orders.check_provisioners",
    ),
    NavItem("staff-orders:leak-report", _("Leak report"), "alert", ("staff-orders:leak-report",), "accounts.view_user"),
    NavItem(
        "staff:audit-trail",
        _("Audit trail"),
        "shield",
        ("staff:audit-trail", "staff:audit-event"),
        "cards.view_audit_trail",
    ),
)
MEMBER_NAV = (
    NavItem("home", pgettext_lazy("navigation", "Home"), "home", ("home",)),
    NavItem("orders:redeem", _("Pick up"), "gift", ("orders:redeem",)),
    NavItem("orders:cards", _("My pickup cards"), "card", ("orders:cards",)),
    NavItem("orders:list", _("Orders"), "receipt", ("orders:list", "orders:detail", "orders:access")),
    NavItem(
        "orders:services",
        _("My services"),
        "server",
        ("orders:services", "orders:service", "orders:service-access", "orders:service-domain"),
    ),
    NavItem("ledger", _("Balance"), "wallet", ("ledger",)),
)


def _menu(items: tuple[NavItem, ...], request: HttpRequest) -> list[dict[str, Any]]:
    match = request.resolver_match
    current = match.view_name if match else ""
    menu = []
    for item in items:
        if item.permission and not request.user.has_perm(item.permission):
            continue
        try:
            url = reverse(item.view)
        except NoReverseMatch:  # not mounted on this surface
            continue
        menu.append({"url": url, "label": item.label, "icon": item.icon, "current": current in item.marks})
    return menu


def _company_sign_in() -> dict[str, str] | None:
    """{"name", "url"} of the sign-in through the company's own system, where it is set up."""
    if not settings.OIDC_SERVER_URL:
        return None
    url = reverse("openid_connect_login", args=[settings.OIDC_PROVIDER_ID])
    return {"name": settings.OIDC_NAME, "url": url}


def portal(request: HttpRequest) -> dict[str, Any]:
    in_backend = getattr(getattr(request, "user", None), "is_staff", False) and settings.PORTAL_SURFACE != "members"
    return {
        "portal": {
            "title": settings.SITE_NAME or settings.PORTAL_TITLE,
            "surface": settings.PORTAL_SURFACE,
            "account_base": "base_staff.html" if in_backend else "base_member.html",
            "languages": settings.LANGUAGES,
            "currency": settings.CURRENCY,
            "sign_up": settings.SIGN_UP == "open" and settings.LOCAL_PASSWORDS,
            "local_passwords": settings.LOCAL_PASSWORDS,
            "company_sign_in": _company_sign_in(),
            "staff_nav": SimpleLazyObject(lambda: _menu(STAFF_NAV, request)),
            "member_nav": SimpleLazyObject(lambda: _menu(MEMBER_NAV, request)),
        }
    }
