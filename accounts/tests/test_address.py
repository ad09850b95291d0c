"""Which address a request counts as coming from."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from accounts.address import client_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "peer", "expected"),
    [
        (0, None, "192.0.2.1", "192.0.2.1"),
        (0, "198.51.100.9", "192.0.2.1", "192.0.2.1"),  # nobody is trusted to say so
        (1, "198.51.100.9", "10.0.0.1", "198.51.100.9"),
        (1, "203.0.113.66, 198.51.100.9", "10.0.0.1", "198.51.100.9"),  # the left one is the client's own word
        (2, "203.0.113.66, 198.51.100.9, 10.0.0.2", "10.0.0.1", "198.51.100.9"),
        (2, "198.51.100.9", "10.0.0.1", "10.0.0.1"),  # came past a proxy
        (1, None, "10.0.0.1", "10.0.0.1"),
        (1, "198.51.100.9:4711", "10.0.0.1", "198.51.100.9"),
        (1, "[2001:db8::1]:4711", "10.0.0.1", "2001:db8::1"),
        (1, "2001:db8::1", "10.0.0.1", "2001:db8::1"),
        (0, None, "::ffff:192.0.2.1", "192.0.2.1"),
        (1, "unknown", "10.0.0.1", None),
        (0, None, "", None),  # a unix socket
    ],
)
def test_client_address(settings: Any, proxies: int, forwarded: str | None, peer: str, expected: str | None) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    assert client_address(RequestFactory().get("/", headers=headers, REMOTE_ADDR=peer)) == expected
