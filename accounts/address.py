"""Where a request came from."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address, or None when it is not one.

    Each trusted proxy appends the address it was called from to X-Forwarded-For, so the client stands
    `TRUSTED_PROXIES` steps from the right; whatever is further left was written by the client and is not believed.
    """
    address: str = request.META.get("REMOTE_ADDR", "")
    proxies: int = settings.TRUSTED_PROXIES
    if proxies:
        steps = [step.strip() for step in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        if len(steps) >= proxies:
            address = steps[-proxies]
    try:
        return str(ip_address(address))
    except ValueError:
        return None
