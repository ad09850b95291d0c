"""Counting attempts before they are evaluated, atomically, in the database.

Doors (`take_place`): one statement takes a place in a window or is refused, so that parallel fire cannot slip past.

Codes, inside one transaction of the caller, who looks the code up in between:

1. `count_attempt` adds the attempt to the person's own gate, or raises TooManyAttempts. The gate's row stays locked to
   the end of the transaction: his attempts are heard one after the other, and a limit of ten hears exactly ten.
2. A right code: `forget_attempt` (or the transaction rolls back). Nothing else is written, and no row is shared.
3. A wrong code: `count_wrong`, and the transaction commits. The person's address block and the whole portal are
   counted too. They never refuse anybody; while one of them is full, each person's own rounds are short.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils import timezone

from .exceptions import TooManyAttempts
from .models import AttemptCounter, AttemptGate, User

logger = logging.getLogger(__name__)
KEPT = timedelta(days=7)  # longer than any window

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
        cursor.execute(_TAKE, [key, _raw(now), *[_raw(horizon)] * 3, limit])
        taken = cursor.rowcount == 1
    if not taken:
        start = AttemptCounter.objects.values_list("window_start", flat=True).get(key=key)
        raise TooManyAttempts(max(start + window - now, timedelta(seconds=1)))


def give_back(key: str) -> None:
    """Take one attempt off `key`: it turned out to be right, which is nobody's guess."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_attemptcounter SET count = count - 1 WHERE key = %s AND count > 0", [key])


def forget_old() -> int:
    """Remove the counters whose windows are long over, lest every block that ever tried keep its row; how many."""
    return AttemptCounter.objects.filter(window_start__lt=timezone.now() - KEPT).delete()[0]


def address_block(address: str) -> str:
    """The block an address is counted under: /24 of IPv4, /48 of IPv6; "unknown" for anything else."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "unknown"
    if mapped := getattr(ip, "ipv4_mapped", None):
        ip = mapped
    return str(ip_network(f"{ip}/{24 if ip.version == 4 else 48}", strict=False))


# --- Codes ----------------------------------------------------------------------------------------------------------
_ADD_ATTEMPT = """
INSERT INTO accounts_attemptgate (user_id, tries, rounds) VALUES (%(user)s, 1, 0)
ON CONFLICT (user_id) DO UPDATE SET
  tries = CASE WHEN accounts_attemptgate.last_at <= %(long_ago)s THEN 1 ELSE accounts_attemptgate.tries + 1 END,
  rounds = CASE WHEN accounts_attemptgate.last_at <= %(long_ago)s THEN 0 ELSE accounts_attemptgate.rounds END,
  open_at = NULL
WHERE accounts_attemptgate.open_at IS NULL OR accounts_attemptgate.open_at <= %(now)s
"""
_COUNT_UP = """
INSERT INTO accounts_attemptcounter (key, window_start, count) VALUES (%(key)s, %(now)s, 1)
ON CONFLICT (key) DO UPDATE SET
  count = CASE WHEN accounts_attemptcounter.window_start <= %(horizon)s THEN 1
               ELSE accounts_attemptcounter.count + 1 END,
  window_start = CASE WHEN accounts_attemptcounter.window_start <= %(horizon)s THEN excluded.window_start
                      ELSE accounts_attemptcounter.window_start END
"""


def count_attempt(user: User) -> None:
    """Count one code before it is looked up; needs an open transaction. Raises TooManyAttempts while he has to wait."""
    now = timezone.now()
    with connection.cursor() as cursor:
        long_ago = now - settings.THROTTLE_FORGET
        cursor.execute(_ADD_ATTEMPT, {"user": user.pk, "now": _raw(now), "long_ago": _raw(long_ago)})
        heard = cursor.rowcount == 1
    if not heard:
        open_at = AttemptGate.objects.values_list("open_at", flat=True).get(user=user)
        raise TooManyAttempts(max((open_at or now) - now, timedelta(seconds=1)))


def forget_attempt(user: User) -> None:
    """The code was a real card's: nobody's guess."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE accounts_attemptgate SET tries = tries - 1 WHERE user_id = %s", [user.pk])


def count_wrong(user: User, address: str | None, *, codes: int = 1) -> None:
    """The attempt stays counted; a full round closes the person's gate for a while.

    `codes`: how many were wrong of a list that was one attempt; all of them are the person's, in one round at most.
    """
    now = timezone.now()
    block = address_block(address or "")
    block_full = _count_up(f"code:block:{block}", now) > settings.THROTTLE_ADDRESS
    portal_full = _count_up("code:all", now) > settings.THROTTLE_GLOBAL
    limit = settings.THROTTLE_MEMBER
    if block_full or portal_full:
        limit = min(limit, settings.THROTTLE_CROWDED)
    gates = AttemptGate.objects.filter(user=user)
    tries = (gate := gates.get()).tries + codes - 1
    if tries >= limit:
        gates.update(tries=0, rounds=F("rounds") + 1, last_at=now, open_at=now + wait_after(gate.rounds))
        logger.warning("user %s from %s: %d rounds of wrong codes", user.pk, block, gate.rounds + 1)
    else:
        gates.update(tries=tries, last_at=now)


def wait_after(rounds: int) -> timedelta:
    """How long the gate stays closed after a round that `rounds` full ones went before: twice as long each time."""
    wait: timedelta = settings.THROTTLE_WAIT * (1 << min(rounds, 20))
    return min(wait, settings.THROTTLE_LONGEST_WAIT)


def _count_up(key: str, now: datetime) -> int:
    """Count one wrong code under `key`; how many its window holds now."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_UP, {"key": key, "now": _raw(now), "horizon": _raw(now - settings.THROTTLE_WINDOW)})
    return AttemptCounter.objects.values_list("count", flat=True).get(key=key)


def _raw(moment: datetime) -> Any:
    """As a plain statement takes it: SQLite compares moments as text, so all must be written alike."""
    return connection.ops.adapt_datetimefield_value(moment)
