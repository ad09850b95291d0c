"""Where a request came from, when the header that says so can be believed."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address, or None when nothing trustworthy names one.

    With `TRUSTED_PROXIES` = n the address is the n-th entry of X-Forwarded-For counted from the right: each of our
    own proxies appended one, and everything further left is the client's word. A header with fewer entries did not
    come through our proxies and is not believed.
    """
    if settings.TRUSTED_PROXIES > 0:
        entries = [entry.strip() for entry in request.headers.get("X-Forwarded-For", "").split(",") if entry.strip()]
        if len(entries) >= settings.TRUSTED_PROXIES:
            return _plain(entries[-settings.TRUSTED_PROXIES])
    return _plain(request.META.get("REMOTE_ADDR", ""))


def _plain(text: str) -> str | None:
    """The address without port, brackets or zone, or None: some proxies append `1.2.3.4:5678` or `[::1]:80`."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)
