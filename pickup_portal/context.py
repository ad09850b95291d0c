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
    """One line of a menu; it shows as current on its own page and on those below it."""

    view: str
    label: Any
    icon: str
    permission: str = ""


STAFF_NAV = (
    NavItem("staff-orders:dashboard", _("Dashboard"), "monitor", "cards.view_batch"),
    NavItem("staff:batch-list", _("Pickup cards"), "card", "cards.view_batch"),
    NavItem("staff:batch-add", _("Add pickup cards"), "plus", "cards.add_batch"),
    NavItem("staff:card-find", _("Find a card"), "search", "cards.view_card"),
    NavItem("staff:usage-log", _("Usage log"), "history", "cards.view_carduse"),
    NavItem("staff-orders:list", _("Pickup orders"), "receipt", "orders.view_order"),
    NavItem("staff-orders:service-list", _("Services"), "monitor", "orders.view_service"),
    NavItem("staff-orders:member-list", _("Members"), "users", "accounts.view_user"),
    NavItem("staff:line-list", _("Catalogue"), "server", "cards.view_line"),
    NavItem("staff-orders:machine-list", _("Machines"), "server", "orders.view_machine"),
    NavItem("staff-orders:provisioner-list", _("Provisioners"), "cloud", "orders.check_provisioners"),
    NavItem("staff-orders:leak-report", _("Leak report"), "alert", "accounts.view_user"),
    NavItem("staff:audit-trail", _("Audit trail"), "shield", "cards.view_audit_trail"),
)
MEMBER_NAV = (
    NavItem("home", pgettext_lazy("navigation", "Home"), "home"),
    NavItem("orders:redeem", _("Pick up"), "gift"),
    NavItem("orders:cards", _("My pickup cards"), "card"),
    NavItem("orders:list", _("Orders"), "receipt"),
    NavItem("orders:services", _("My services"), "server"),
    NavItem("ledger", _("Balance"), "wallet"),
)


def _menu(items: tuple[NavItem, ...], request: HttpRequest) -> list[dict[str, Any]]:
    menu: list[dict[str, Any]] = []
    above: list[dict[str, Any]] = []  # the items that this page stands below
    for item in items:
        if item.permission and not request.user.has_perm(item.permission):
            continue
        try:
            url = reverse(item.view)
        except NoReverseMatch:  # not mounted on this surface
            continue
        menu.append({"url": url, "label": item.label, "icon": item.icon, "current": False})
        if request.path == url or (request.path.startswith(url) and item.view != "home"):
            above.append(menu[-1])
    if above:
        max(above, key=lambda entry: len(entry["url"]))["current"] = True
    return menu


def _company_sign_in() -> dict[str, str] | None:
    """{"name", "url"} of the sign-in through the company's own system, where it is set up."""
    if not settings.OIDC_SERVER_URL:
        return None
    url = reverse("openid_connect_login", args=[settings.OIDC_PROVIDER_ID])
    return {"name": settings.OIDC_NAME, "url": url}


def _support() -> dict[str, str]:
    """{"text", "url"} of the way to whoever helps members; both empty where none is set."""
    contact = settings.SUPPORT_CONTACT
    if contact.startswith("https://"):
        return {"text": contact.removeprefix("https://"), "url": contact}
    if "@" in contact:
        return {"text": contact, "url": f"mailto:{contact}"}
    digits = contact.replace(" ", "").replace("-", "")
    return {"text": contact, "url": f"tel:{digits}" if digits.removeprefix("+").isdigit() else ""}


def portal(request: HttpRequest) -> dict[str, Any]:
    in_backend = getattr(getattr(request, "user", None), "is_staff", False) and settings.PORTAL_SURFACE != "members"
    return {
        "portal": {
            "title": settings.SITE_NAME or settings.PORTAL_TITLE,
            "support": _support(),
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
