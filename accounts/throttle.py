"""Counting attempts before they are evaluated, atomically, in the database.

One statement takes a place in the window or is refused, so that parallel fire cannot slip past the limit; it runs
outside the caller's transaction only in the sense that callers call it before they open one.
"""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address, ip_network

from django.conf import settings
from django.db import connection
from django.utils import timezone

from .exceptions import TooManyAttempts
from .models import AttemptCounter

_TAKE = """
INSERT INTO accounts_attemptcounter (key, window_start, count) VALUES (%s, %s, 1)
ON CONFLICT (key) DO UPDATE SET
  count = CASE WHEN accounts_attemptcounter.window_start <= %s THEN 1 ELSE accounts_attemptcounter.count + 1 END,
  window_start = CASE WHEN accounts_attemptcounter.window_start <= %s THEN excluded.window_start
                      ELSE accounts_attemptcounter.window_start END
WHERE accounts_attemptcounter.window_start <= %s OR accounts_attemptcounter.count < %s
"""


def take_place(key: str, *, limit: int, window: timedelta) -> None:
    """Count one attempt under `key`; raises TooManyAttempts when `limit` are already counted in `window`."""
    now = timezone.now()
    horizon = now - window
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [key, now, horizon, horizon, horizon, limit])
        taken = cursor.rowcount == 1
    if not taken:
        start = AttemptCounter.objects.values_list("window_start", flat=True).get(key=key)
        raise TooManyAttempts(max(start + window - now, timedelta(seconds=1)))


def take_places(keys: list[tuple[str, int]], *, window: timedelta) -> list[str]:
    """Count one attempt under every (key, limit), or under none: what one of them refuses was heard by nobody."""
    taken: list[str] = []
    for key, limit in keys:
        try:
            take_place(key, limit=limit, window=window)
        except TooManyAttempts:
            for earlier in taken:
                give_back(earlier)
            raise
        taken.append(key)
    return taken


def give_back(key: str) -> None:
    """Take one attempt off `key`: it turned out to be a right code, which is nobody's guess."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_attemptcounter SET count = count - 1 WHERE key = %s AND count > 0", [key])


def address_block(address: str) -> str:
    """The block an address is counted under: /24 of IPv4, /48 of IPv6; "unknown" for anything else."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if mapped := getattr(ip, "ipv4_mapped", None):
        ip = mapped
    return str(ip_network(f"{ip}/{24 if ip.version == 4 else 48}", strict=False))


def attempt_keys(*, member_id: int, address: str) -> list[tuple[str, int]]:
    """The (key, limit) pairs that one typed code is counted under, narrowest first."""
    return [
        (f"code:member:{member_id}", settings.THROTTLE_MEMBER),
        (f"code:address:{address_block(address)}", settings.THROTTLE_ADDRESS),
        ("code:global", settings.THROTTLE_GLOBAL),
    ]
