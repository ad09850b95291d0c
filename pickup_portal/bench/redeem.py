"""`bench redeem`: confirmations over HTTP, through the portal's own gunicorn, beside a bare Django view.

Members with sessions post the confirmation of cards of a scratch batch over 32 connections; in turn with as many posts
to the bare view (bare.py), so that both see the same machine. What the bare view did is undone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import transaction

from accounts.models import User
from cards import actions
from cards.choices import CardStatus, ProductType
from cards.models import Batch, Card, Line
from cards.vault import BatchVault
from orders.models import Order
from pickup_portal.lifeline import die_with_parent

from .load import Shot, fire, post
from .pages import percentile
from .scratch import CannotMeasure, needs_simulator, scratch_batch, scratch_image, scratch_members

CONNECTIONS = 32
TURNS = 5
CSRF = "b" * 32
MARK = "bare-"  # of the bare view's orders


@dataclass(frozen=True)
class RedeemResult:
    """`ratio` is how much of the bare view's speed a whole redemption reaches; times in milliseconds."""

    batch: str
    redemptions: int
    connections: int
    web_processes: int
    per_second: float
    bare_per_second: float
    ratio: float
    median_ms: float
    p95_ms: float
    bare_p95_ms: float


def measure_redemptions(count: int) -> RedeemResult:
    """Redeem `count` cards of a new scratch batch, in turn with as many by the bare view. Raises CannotMeasure."""
    needs_simulator()
    connections = min(CONNECTIONS, count)
    turns = min(TURNS, count // connections)
    each = count // (connections * turns)
    count = connections * turns * each
    warm_up = connections
    batch = scratch_batch(2 * (count + warm_up), made=True, product_type=ProductType.CLOUD_SERVER)
    image, cards = scratch_image(batch.line), list(batch.cards.order_by("serial"))
    vault = BatchVault.of(batch)
    codes = [vault.open(card.serial, bytes(card.sealed or b"")) for card in cards]
    portal, bare = codes[: count + warm_up], codes[count + warm_up :]
    sides: dict[str, tuple[list[Shot], float]] = {"portal": ([], 0.0), "bare": ([], 0.0)}
    try:
        with _sessions(scratch_members(connections)) as sessions, _gunicorn() as port:
            confirm = {"step": "confirm", "image": image.pk}
            plain = {"product_type": batch.product_type, "line": batch.line_id}
            for turn in range(-1, turns):
                n = 1 if turn < 0 else each
                for side, path, fields, left in (
                    ("portal", "/cards/redeem/", confirm, portal),
                    ("bare", "/bench/bare/", plain, bare),
                ):
                    shots, seconds = fire(
                        port, [[_request(path, key, fields, left.pop()) for _ in range(n)] for key in sessions]
                    )
                    if wrong := {shot.status for shot in shots} - {302, 303}:
                        raise CannotMeasure(f"{path} answered {sorted(wrong)}.")
                    if turn >= 0:
                        sides[side] = (sides[side][0] + shots, sides[side][1] + seconds)
    finally:
        _undo_bare(batch, cards)
        Line.objects.filter(pk=batch.line_id).update(active=False)
        actions.disable_batch(batch=batch, actor=None, reason="bench")
    return _result(batch, count, connections, sides)


def _result(batch: Batch, count: int, connections: int, sides: dict[str, tuple[list[Shot], float]]) -> RedeemResult:
    (shots, seconds), (bare_shots, bare_seconds) = sides["portal"], sides["bare"]
    times = [shot.seconds * 1000 for shot in shots]
    return RedeemResult(
        batch=batch.number,
        redemptions=count,
        connections=connections,
        web_processes=_web_processes(),
        per_second=round(count / seconds, 1),
        bare_per_second=round(count / bare_seconds, 1),
        ratio=round(bare_seconds / seconds, 2),
        median_ms=round(percentile(times, 0.5), 1),
        p95_ms=round(percentile(times, 0.95), 1),
        bare_p95_ms=round(percentile([shot.seconds * 1000 for shot in bare_shots], 0.95), 1),
    )


def _request(path: str, session: str, fields: dict[str, Any], code: str) -> bytes:
    cookies = {settings.SESSION_COOKIE_NAME: session, settings.CSRF_COOKIE_NAME: CSRF}
    return post(path, cookies, urlencode(fields | {"code": code, "csrfmiddlewaretoken": CSRF}).encode())


@contextmanager
def _sessions(members: list[User]) -> Iterator[list[str]]:
    """A session key for each, signed in without a login; they go at the end."""
    engine = import_module(settings.SESSION_ENGINE)
    made = []
    for member in members:
        session = engine.SessionStore()
        session[SESSION_KEY] = str(member.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = member.get_session_auth_hash()
        session.save()
        made.append(session)
    try:
        yield [session.session_key for session in made]
    finally:
        for session in made:
            session.delete()


def _web_processes() -> int:
    return int(os.environ.get("WEB_CONCURRENCY", "2"))


@contextmanager
def _gunicorn() -> Iterator[int]:
    """The port of the portal's gunicorn, as production runs it, with the bare view beside the portal."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf", "pickup_portal.bench.bare",
         "--bind", f"127.0.0.1:{port}"],
        cwd=settings.BASE_DIR, start_new_session=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        _await(server, port)
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _await(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            if b" 200 " in connection.recv(64):
                return
        time.sleep(0.05)
    raise CannotMeasure("gunicorn did not start.")


@transaction.atomic
def _undo_bare(batch: Batch, cards: list[Card]) -> None:
    """The bare view wrote no usage log and no audit row: nothing of it may stay."""
    bare = Order.objects.filter(batch=batch, number__startswith=MARK)
    touched = set(bare.values_list("card_id", flat=True))
    bare.delete()
    for card in cards:
        if card.pk in touched:
            Card.objects.filter(pk=card.pk).update(
                status=CardStatus.UNUSED, used_at=None, used_by=None, sealed=card.sealed
            )


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield (
        f"{result['redemptions']} cards of {result['batch']} over {result['connections']} connections, "
        f"{result['web_processes']} web processes, in turn with as many by the bare view"
    )
    yield f"redeem  {result['per_second']:>8} /s   median {result['median_ms']} ms, p95 {result['p95_ms']} ms"
    yield f"bare    {result['bare_per_second']:>8} /s   p95 {result['bare_p95_ms']} ms"
    yield f"ratio   {result['ratio']:>8}"
