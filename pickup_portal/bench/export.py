"""`bench export`: a batch's codes downloaded over HTTP, beside COPY of the same codes in plain text by a bare client.

1. A scratch batch is made, and gunicorn started with one worker process.
2. A member of staff, made for this, who has just proven that it is he, downloads it as TXT, after a small download to
   warm up; then the first 1,000 cards as PDF and the first 100,000 as XLSX.
3. A bare client (psycopg2, nothing of Django) copies the same codes, which it holds in a temporary table of its own, to
   standard output in the same order: the raw limit. Nothing has to be decrypted there.

`ratio` is the portal's codes per second over the bare client's, from the same run; the two take turns. Memory is the
worker's growth over its size before the download, at its highest, in MiB.
"""

from __future__ import annotations

import http.client
import io
import os
import re
import secrets
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg2
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.flows import login as login_flow
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Permission
from django.db import connection
from django.urls import reverse

from accounts.models import User
from cards import actions
from cards.exports.snapshot import Snapshot
from cards.models import Batch
from cards.vault import BatchVault
from pickup_portal.lifeline import die_with_parent

from .scratch import CannotMeasure, scratch_batch

ROUNDS = 3
PRINTED, LISTED = 1_000, 100_000
START_SECONDS = 30.0
BLOCK = 1 << 18


@dataclass(frozen=True)
class ExportResult:
    batch: str
    codes: int
    per_second: int
    raw_per_second: int
    ratio: float
    first_byte_s: float
    memory_growth_mb: float
    pdf_cards: int
    pdf_s: float
    xlsx_cards: int
    xlsx_s: float


def measure_export(count: int, *, environ: dict[str, str] | None = None) -> ExportResult:
    """Raises CannotMeasure. `environ`: what gunicorn is started with, this process's own by default."""
    if connection.vendor != "postgresql":
        raise CannotMeasure("bench export compares with COPY and needs PostgreSQL.")
    batch = scratch_batch(count, made=True)
    try:
        with _staff() as session, _web(environ) as (port, worker), _bare_client(batch) as raw:
            ask = _Caller(port, session, batch)
            ask("txt", f"1-{min(count, 1000)}")  # imports and connects
            portal, bare, first, growth = [], [], [], []
            for _round in range(ROUNDS):
                before = _memory(worker, "VmRSS", forget_peak=True)
                got = ask("txt")
                growth.append(_memory(worker, "VmHWM") - before)
                if got.size != 31 * count:
                    raise CannotMeasure(f"The download has {got.size} bytes instead of {31 * count}.")
                portal.append(got.took)
                first.append(got.first)
                bare.append(raw())
            pdf = ask("pdf", f"1-{min(count, PRINTED)}")
            xlsx = ask("xlsx", f"1-{min(count, LISTED)}")
    finally:
        actions.disable_batch(batch=batch, actor=None, reason="bench")
    took, limit = statistics.median(portal), statistics.median(bare)
    return ExportResult(
        batch=batch.number,
        codes=count,
        per_second=round(count / took),
        raw_per_second=round(count / limit),
        ratio=round(limit / took, 2),
        first_byte_s=round(max(first), 3),
        memory_growth_mb=round(max(growth), 1),
        pdf_cards=min(count, PRINTED),
        pdf_s=round(pdf.took, 2),
        xlsx_cards=min(count, LISTED),
        xlsx_s=round(xlsx.took, 2),
    )


# --- Who asks, and how ------------------------------------------------------------------------------------------
@contextmanager
def _staff() -> Iterator[str]:
    """The session of a member of staff who may download and has proven just now that it is he; he is shut out after."""
    user = User.objects.create(username=f"bench-staff-{secrets.token_hex(4)}", is_staff=True)
    user.set_unusable_password()
    user.save(update_fields=["password"])
    user.user_permissions.add(
        Permission.objects.get(content_type__app_label="cards", codename="download_batch"),
    )
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session[login_flow._AUTHENTICATION_METHODS_USER_SESSION_KEY] = str(user.pk)
    session[AUTHENTICATION_METHODS_SESSION_KEY] = [{"method": "bench", "at": time.time()}]
    session.save()
    try:
        yield session.session_key
    finally:
        session.delete()
        User.objects.filter(pk=user.pk).update(is_active=False)


@dataclass(frozen=True)
class Answer:
    size: int
    first: float
    took: float


class _Caller:
    """Posts the download form as a browser does and reads the file to its end; times in seconds from the request."""

    def __init__(self, port: int, session: str, batch: Batch) -> None:
        self._port, self._path = port, reverse("staff:batch-download", args=[batch.pk])
        self._token = secrets.token_hex(16)
        hosts = [host for host in settings.ALLOWED_HOSTS if not host.startswith(("*", "."))] or ["localhost"]
        self._headers = {
            "Host": hosts[0],
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={self._token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def __call__(self, file_format: str, serials: str = "") -> Answer:
        form = {"file_format": file_format, "serials": serials, "reason": "bench", "layout": "a4-10"}
        body = urlencode(form | {"csrfmiddlewaretoken": self._token})
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        start = time.monotonic()
        client.request("POST", self._path, body, self._headers)
        answer = client.getresponse()
        size, first = len(answer.read(1)), time.monotonic() - start
        if answer.status != 200:
            raise CannotMeasure(f"The portal answered {answer.status} to a download of {file_format}.")
        while block := answer.read(BLOCK):
            size += len(block)
        took = time.monotonic() - start
        client.close()
        return Answer(size, first, took)


@contextmanager
def _web(environ: dict[str, str] | None) -> Iterator[tuple[int, int]]:
    """(port, process id of the one worker)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-c", "python:pickup_portal.gunicorn_conf", "--workers", "1"]
    server = subprocess.Popen(  # noqa: S603
        [*command, "--bind", f"127.0.0.1:{port}"],
        env=environ or dict(os.environ),
        cwd=settings.BASE_DIR,
        preexec_fn=die_with_parent,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (worker := _child_of(server.pid)) or not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure("gunicorn did not start.")
            time.sleep(0.05)
        yield port, worker
    finally:
        server.terminate()
        server.wait()


def _child_of(parent: int) -> int:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    children = path.read_text().split() if path.exists() else []
    return int(children[0]) if children else 0


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _memory(process: int, name: str, *, forget_peak: bool = False) -> float:
    """VmRSS or VmHWM (its peak) of a process, in MiB."""
    home = Path("/proc") / str(process)
    if forget_peak:
        (home / "clear_refs").write_text("5")
    found = re.search(rf"^{name}:\s+(\d+) kB", (home / "status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


# --- The raw limit ----------------------------------------------------------------------------------------------
class _Nowhere:
    def write(self, block: bytes) -> int:
        return len(block)


@contextmanager
def _bare_client(batch: Batch) -> Iterator[Any]:
    """A function that returns the seconds COPY takes for the batch's codes, from a table only this client sees."""
    values = connection.get_connection_params()
    client = psycopg2.connect(
        **{name: values[name] for name in ("dbname", "user", "password", "host", "port") if name in values}
    )
    snapshot = Snapshot(batch)
    try:
        with client.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE plain (serial integer PRIMARY KEY, code text NOT NULL)")
            serial = 0
            for codes in snapshot.code_pages(BatchVault.of(batch)):
                lines = "".join(f"{serial + n}\t{code.decode()}\n" for n, code in enumerate(codes, 1))
                serial += len(codes)
                cursor.copy_expert("COPY plain FROM STDIN", io.StringIO(lines))
            cursor.execute("ANALYZE plain")
            client.commit()

            def raw() -> float:
                start = time.monotonic()
                cursor.copy_expert("COPY (SELECT code FROM plain ORDER BY serial) TO STDOUT", _Nowhere())
                return time.monotonic() - start

            yield raw
    finally:
        snapshot.close()
        client.close()


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield f"download  {result['per_second']:>9} /s   {result['codes']} codes of {result['batch']} as TXT over HTTP"
    yield f"bare COPY {result['raw_per_second']:>9} /s   the same codes in plain text, to nowhere"
    yield f"ratio     {result['ratio']:>9}"
    yield f"first byte {result['first_byte_s']:>8} s    the slowest of {ROUNDS}"
    yield f"memory    {result['memory_growth_mb']:>9} MiB  growth of the web process at its highest"
    yield f"PDF       {result['pdf_s']:>9} s    {result['pdf_cards']} cards to print"
    yield f"XLSX      {result['xlsx_s']:>9} s    {result['xlsx_cards']} cards"
