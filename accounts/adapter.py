from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from .address import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Sign-up by setting; after sign-in staff land in the backend, members in the member centre."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGN_UP == "open")

    def get_client_ip(self, request: HttpRequest) -> str:
        """Sign-in limits count the same address as codes do; behind a proxy allauth would count everyone as one."""
        return client_address(request) or "unknown"

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        to_backend = request.user.is_staff and settings.PORTAL_SURFACE != "members"
        return reverse("staff:home") if to_backend else reverse("home")
