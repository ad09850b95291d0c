"""No code is anywhere it must not be: marked codes live through real processes, then everything left is searched.

`make leak-scan` takes 1,000 codes; the ordinary tests a handful, through the same life.
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from django.conf import settings
from django.db import connection

from accounts.tests.factories import PASSWORD, UserFactory
from cards import codes as code_shapes
from cards.models import Batch, Card
from cards.tests.factories import make_batch
from orders.models import Order
from orders.tests.race import start_web
from pickup_portal.testing.leaks import LeakScanner
from pickup_portal.tests.test_surface import Visitor

CODES = code_shapes.make(3)


# --- The searcher itself ----------------------------------------------------------------------------------------------
def grouped(code: str) -> str:
    return code_shapes.group(code)


FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "grouped": lambda code: grouped(code).encode(),
    "lower": lambda code: code.lower().encode(),
    "spaced": lambda code: grouped(code).replace("-", " ").encode(),
    "in an address": lambda code: quote(grouped(code), safe="").replace("-", "%2D").encode(),
    "two bytes a character": lambda code: code.encode("utf-16-le"),
    "hex": lambda code: code.encode().hex().encode(),
    "hex of groups": lambda code: grouped(code).encode().hex().upper().encode(),
    "bytea": lambda code: rb"\\x00" + code.lower().encode().hex().encode() + b"ff",
    "base64": lambda code: base64.b64encode(code.encode()),
    "base64 of groups": lambda code: base64.b64encode(grouped(code).encode()),
    "base64 within a message": lambda code: base64.b64encode(b'[["' + code.encode() + b'"], {}]'),
    "base64 one further": lambda code: base64.urlsafe_b64encode(b'{"code": "' + grouped(code).encode() + b'"}'),
    "base64 two further": lambda code: base64.b64encode(b"ab" + code.lower().encode() + b"?"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(form: str) -> None:
    scanner = LeakScanner(CODES)
    hits = scanner.scan("a log", b"2026-11-23 INFO before " + FORMS[form](CODES[1]) + b" after\n" * 3)
    assert [hit.number for hit in hits] == [1]


def test_wherever_it_stands_in_a_longer_text() -> None:
    scanner = LeakScanner(CODES)
    for before in range(40):
        for after in range(3):
            text = b"Z" * before + CODES[2].encode() + b"Z" * after
            assert [(hit.form, hit.number) for hit in scanner.scan("a log", text)] == [("plain", 2)], (before, after)
            assert [hit.form for hit in scanner.scan("a log", text[: before + 24] + text[before + 25 :])] == []


def test_other_codes_are_not() -> None:
    assert LeakScanner(CODES).scan("a log", "\n".join(code_shapes.make(200)).encode()) == []


# --- The life -------------------------------------------------------------------------------------------------------
class Life:
    """A portal's web, worker and beat at LOG_LEVEL=DEBUG, with everything they write kept."""

    def __init__(self, env: dict[str, str], home: Path) -> None:
        self.env, self.home = env, home
        self.pages: dict[str, bytes] = {}
        path = env["CELERY_BROKER_URL"].partition("://")[2].partition("?")[0]
        self.broker = redis.Redis(unix_socket_path=path, socket_timeout=None)
        self.published: list[bytes] = []

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.home / f"{name}.log"
        command = [os.sys.executable, *arguments]  # type: ignore[attr-defined]
        with log.open("ab") as output:
            return subprocess.Popen(
                command, env=self.env, cwd=settings.BASE_DIR, stdout=output, stderr=output, start_new_session=True
            )

    def keep(self, name: str, answer: tuple[int, str, str], typed: str = "") -> tuple[int, str, str]:
        """The answer, kept under its name and number, but for what its reader has `typed` in this very request: the
        form gives it back to him, in one field, to be confirmed or mended."""
        status, where, page = answer
        for spelling in (typed, grouped(typed)) if typed else ():
            page = page.replace(f'value="{spelling}"', "", 1)
        self.pages[f"{name} #{len(self.pages)}"] = f"{status} {where}\n{page}".encode()
        return answer


@contextmanager
def life(env: dict[str, str], home: Path) -> Iterator[Life]:
    made = Life(env | {"LOG_LEVEL": "DEBUG"}, home)
    made.broker.config_set("appendonly", "yes")
    stop = threading.Event()
    listening = threading.Thread(target=listen, args=(made, stop))
    listening.start()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        celery = ["-m", "celery", "--app", "pickup_portal"]
        processes.append(made.start("beat", *celery, "beat", "--scheduler", "celery.beat:Scheduler", "-l", "DEBUG"))
        processes.append(made.start("worker", *celery, "worker", "--concurrency", "1", "--loglevel", "DEBUG"))
        made.web = lambda *arguments: processes.append(made.start("web", *arguments))  # type: ignore[attr-defined]
        yield made
    finally:
        for process in processes:
            os.killpg(process.pid, 9)
            process.wait()
        stop.set()
        made.broker.ping()
        listening.join()
        made.broker.config_set("appendonly", "no")
        made.broker.close()


def listen(made: Life, stop: threading.Event) -> None:
    """Every command that the broker was given: all that was ever published, arguments and all."""
    with made.broker.monitor() as monitor, suppress(redis.ConnectionError):
        for command in monitor.listen():
            made.published.append(repr(command).encode())
            if stop.is_set():
                return


def wait_until(condition: Callable[[], object], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)  # other processes do the work


def live(made: Life, quantity: int) -> tuple[Batch, list[str]]:
    """Made, handed out, looked at, mistyped, tried, used, refused, disabled by list, asked for with an error."""
    batch, codes = make_batch(quantity=quantity)
    staff, alice, bob = UserFactory.create(superuser=True), UserFactory.create(), UserFactory.create()
    port = start_web(made.web, "pickup_portal.wsgi", workers=1, threads=4)  # type: ignore[attr-defined]
    desk, member, other = (Visitor(port, who) for who in (staff, alice, bob))
    image, share = batch.line.images.get().pk, max(quantity // 10, 2)

    handed = desk.ask(f"/staff/cards/{batch.pk}/download/", file_format="txt", reason="scan", password=PASSWORD)
    assert handed[2].count("\r\n") == quantity, "the control: codes do leave by the download"
    staff.refresh_from_db()  # the web hashes passwords dearer than the tests do, and has just done so with this one
    desk = Visitor(port, staff)
    shown = desk.ask(f"/staff/cards/{batch.pk}/1/reveal/", reason="scan", password=PASSWORD)
    assert grouped(codes[0]) in shown[2], shown[:2]

    for code in codes[:share]:
        wrong = code[:7] + ("0" if code[7] != "0" else "1") + code[8:]
        made.keep("mistyped", member.ask("/cards/redeem/", step="check", code=wrong))
        made.keep("offer", member.ask("/cards/redeem/", step="check", code=grouped(code)), code)
        assert made.keep("used", member.ask("/cards/redeem/", step="confirm", code=code, image=image))[0] == 303
        made.keep("used before", other.ask("/cards/redeem/", step="check", code=code), code)
    for code in codes[share : share + 3]:
        made.keep("get", member.ask(f"/cards/redeem/?step=check#{code}"))
    made.keep("disable list", desk.ask("/staff/cards/disable/", codes="\n".join(codes[-share:]), reason="scan"))
    for serial in range(quantity - 1, quantity + 1):
        desk.ask(f"/staff/cards/{batch.pk}/{serial}/disable/", reason="scan")
    made.keep("disabled", other.ask("/cards/redeem/", step="check", code=codes[-1]), codes[-1])
    made.keep("found", desk.ask("/staff/cards/find/", q=codes[-2], code=codes[-2]))
    if connection.vendor == "postgresql":
        with broken_table():
            failed = made.keep("error", member.ask("/cards/redeem/", step="confirm", code=codes[share], image=image))
            assert failed[0] == 500
    wait_until(lambda: Order.objects.filter(state="active").count() == share)
    number = Order.objects.latest("pk").number
    for path in ["/", "/cards/", "/cards/redeem/", "/orders/", f"/orders/{number}/"]:
        made.keep(path, member.ask(path))
    places = ["cards/", "cards/usage/", f"cards/{batch.pk}/", f"cards/{batch.pk}/1/reveal/", "audit/"]
    places += ["dashboard/", "leaks/", f"orders/{number}/", "admin/cards/card/", "admin/cards/auditevent/"]
    for path in places:
        assert made.keep(path, desk.ask(f"/staff/{path}"))[0] == 200, path
    assert made.keep("audit csv", desk.ask("/staff/audit/csv/", list="audit"))[0] == 200
    for path in ["/healthz", "/metrics", "/nothing-here/"]:
        made.keep(path, desk.ask(path))
    return batch, codes


@contextmanager
def broken_table() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE orders_orderevent RENAME TO gone")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE gone RENAME TO orders_orderevent")


# --- What is left -----------------------------------------------------------------------------------------------------
def left_behind(made: Life) -> Iterator[tuple[str, bytes]]:
    """(where, what) of everything that outlives the requests."""
    for name, page in made.pages.items():
        yield f"page {name}", page
    for path in sorted(made.home.glob("*.log")):
        yield f"log {path.name}", path.read_bytes()
    yield "published", b"\n".join(made.published)
    for key in made.broker.keys("*"):  # type: ignore[union-attr]
        yield f"broker {key!r}", key + (made.broker.dump(key) or b"")  # type: ignore[operator]
    folder = Path(made.broker.config_get("dir")["dir"])  # type: ignore[index]
    for path in sorted(folder.glob("appendonlydir/*")):
        yield f"broker file {path.name}", path.read_bytes()
    yield from database_left(made)


def database_left(made: Life) -> Iterator[tuple[str, bytes]]:
    if connection.vendor == "sqlite":
        for path in Path(str(connection.settings_dict["NAME"])).parent.glob("test*.sqlite3*"):
            yield f"database file {path.name}", path.read_bytes()
        return
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        tables = connection.introspection.table_names(cursor)
        for table in tables:
            rows = made.home / "table"
            with rows.open("wb") as output:
                cursor.copy_expert(f'COPY "{table}" TO STDOUT', output)
            yield f"table {table}", rows.read_bytes()
        cursor.execute("SHOW data_directory")
        folder = Path(cursor.fetchone()[0])
        cursor.execute(
            "SELECT relname, pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't') "
            "AND relnamespace IN ('public'::regnamespace, 'pg_toast'::regnamespace)"
        )
        for name, path in cursor.fetchall():
            if (
                path
                and name.split("_")[0] in {"cards", "orders", "accounts", "django", "pg"}
                and (folder / path).exists()
            ):
                yield f"bytes of {name}", (folder / path).read_bytes()
        for path in [*sorted((folder / "pg_wal").glob("0*"))[-8:], folder.parent / "log"]:
            if path.exists():
                yield f"bytes of {path.name}", path.read_bytes()


def search(made: Life, codes: list[str]) -> None:
    scanner = LeakScanner(codes)
    hits, sizes = [], Counter()
    for place, content in left_behind(made):
        kind = place.split()[0]
        sizes[kind] += len(content)
        hits += scanner.scan(place, content)
    summary = ", ".join(f"{kind} {size / 1e3:,.0f} kB" for kind, size in sorted(sizes.items()))
    print(f"\n{len(codes)} codes, {len(made.pages)} pages, {len(made.published)} broker commands; searched {summary}")
    print(f"hits: {len(hits)}")
    assert not hits, {(hit.place, hit.form) for hit in hits}
    # The negative control: one code planted in the web's log, as a careless line would.
    with (made.home / "web.log").open("ab") as log:
        log.write(b"DEBUG redeem called with " + grouped(codes[len(codes) // 2]).encode() + b"\n")
    again = [(place, content) for place, content in left_behind(made) if place.startswith("log")]
    planted = [hit for place, content in again for hit in scanner.scan(place, content)]
    assert [(hit.place, hit.number) for hit in planted] == [("log web.log", len(codes) // 2)]
    print("planted in web.log: found")


def run_life(env: dict[str, str], home: Path, quantity: int) -> None:
    if "PORTAL_TEST_SERVERS" not in os.environ:
        pytest.skip("asks a broker of its own for all it was told")
    with life(env, home) as made:
        batch, codes = live(made, quantity)
    assert Card.objects.filter(batch=batch, status="used").count() == max(quantity // 10, 2)
    search(made, codes)


@pytest.mark.django_db(transaction=True)
def test_a_few_codes_leave_no_trace(portal_env: dict[str, str], tmp_path: Path) -> None:
    run_life(portal_env, tmp_path, 12)


@pytest.mark.heavy
@pytest.mark.django_db(transaction=True)
def test_a_thousand_codes_leave_no_trace(portal_env: dict[str, str], tmp_path: Path) -> None:
    run_life(portal_env, tmp_path, 1000)
