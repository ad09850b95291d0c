"""`bench pages`: the pages of our own apps and the account pages a person opens, each asked for with GET.

One request warms up, one is counted (status, queries, size); the timed ones run without any instrument.
"""

from __future__ import annotations

import gzip
import logging
import math
import os
import statistics
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connection, transaction
from django.db.models import Count, Exists, Model, OuterRef
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.command import table
from accounts.middleware import TIME_ZONE_COOKIE
from accounts.models import User
from cards.choices import ProductType
from cards.models import AuditEvent, Card, Image, Line, OperatingSystem, ServerModel
from orders.choices import STUCK, OrderState, ServiceState
from orders.models import Machine, Order

from .scratch import CannotMeasure

OWN_APPS = ("accounts", "cards", "orders", "pickup_portal")
NO_PAGES = ("readyz", "metrics")  # for machines; `healthz` stays as the floor: server and client, no database
VISITOR, MEMBER, STAFF = "visitor", "member", "staff"
ACCOUNT_PAGES = {  # without account_email, which may write: it notes an address that no sign-in has noted yet
    "account_login": VISITOR,
    "account_signup": VISITOR,
    "account_reset_password": VISITOR,
    "account_logout": MEMBER,
    "account_change_password": MEMBER,
    "mfa_index": MEMBER,
}
GOOD = (200, 302)
NOT_GET = 405


# --- Pages ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Page:
    name: str
    who: str
    path: str
    post: dict[str, str] | None = None  # asked for with POST; what it writes is undone


@dataclass(frozen=True)
class PageResult:
    """Times in milliseconds, sizes in units of 1024 bytes."""

    page: str
    who: str
    status: int
    queries: int
    median_ms: float
    p95_ms: float
    kb: float
    gzip_kb: float
    cpu_ms: float = 0.0  # of this process and of its database session, if that is on this machine


@dataclass(frozen=True)
class Sample:
    """Who asks, and the rows that stand in the addresses."""

    member: User
    staff: User
    order: Order
    stuck: Order
    card: Card
    event: int

    def arguments(self, name: str, wanted: frozenset[str]) -> dict[str, object] | None:
        """None when there is nothing to put into the address: an invitation, a machine that the demo lacks."""
        known: dict[str, object] = {
            "number": (self.stuck if name == "staff-orders:cancel" else self.order).number,
            "pk": self.pk_for(name.partition(":")[2]),
            "serial": self.card.serial,
            "product_type": ProductType.CLOUD_SERVER.value,
            "key": self.order.provider,
            "event": _latest(AuditEvent),
        }
        values = {key: known.get(key) for key in wanted}
        return None if None in values.values() else values

    def pk_for(self, name: str) -> int | None:
        models: dict[str, type[Model]] = {
            "line-detail": Line,
            "line-edit": Line,
            "image-add": Line,
            "server-model-add": Line,
            "image-edit": Image,
            "server-model-edit": ServerModel,
            "system-edit": OperatingSystem,
            "machine-edit": Machine,
            "machine-out": Machine,
            "machine-back": Machine,
        }
        if name.startswith("member"):
            return self.member.pk
        return _latest(models[name]) if name in models else self.card.batch_id


def _latest(model: type[Model]) -> int | None:
    return model._default_manager.order_by("-pk").values_list("pk", flat=True).first()


def find_sample() -> Sample:
    """The member with most orders, a superuser, and rows for them. Raises CannotMeasure."""
    opened = Order.objects.filter(member=OuterRef("pk"), state=OrderState.ACTIVE)
    members = User.objects.filter(Exists(opened), is_active=True, is_staff=False).annotate(n=Count("orders"))
    member = members.order_by("-n", "pk").first()
    staff = User.objects.filter(is_active=True, is_superuser=True, is_staff=True).order_by("pk").first()
    card = Card.objects.redeemable().select_related("batch").order_by("batch_id", "serial").first()
    if member is None or staff is None or card is None:
        raise CannotMeasure(
            "The pages need a member with an open product, a superuser and an unused card; seed_demo makes them."
        )
    orders = Order.objects.filter(member=member, state=OrderState.ACTIVE)
    running = orders.filter(product_type=ProductType.VIRTUAL_HOST, service__state=ServiceState.ACTIVE)  # has all pages
    order = running.order_by("-pk").first() or orders.latest("pk")
    stuck = Order.objects.filter(state__in=STUCK).order_by("pk").last()
    event = AuditEvent.objects.values_list("pk", flat=True).latest("pk")
    return Sample(member, staff, order, stuck or order, card, event)


def pages(sample: Sample) -> list[Page]:
    """Every page of ours that the url patterns name, and the account pages."""
    found = []
    for name, pattern in _named(get_resolver().url_patterns):
        who = ACCOUNT_PAGES.get(name)
        if pattern.callback.__module__.partition(".")[0] in OWN_APPS and name not in NO_PAGES:
            who = STAFF if name.startswith("staff") else VISITOR if name == "healthz" else MEMBER
        if who is None:
            continue
        arguments = sample.arguments(name, frozenset(pattern.pattern.converters))
        if arguments is None:
            continue
        found.append(Page(name, who, reverse(name, kwargs=arguments)))
        if name == "home":
            found.append(Page(name, VISITOR, reverse(name)))
    return found


def _named(patterns: list[Any], namespace: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield namespace + pattern.name, pattern
        elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _named(pattern.url_patterns, inner)


def measure_pages(times: int) -> tuple[list[PageResult], list[str]]:
    """(a result per page, the names that answer to POST only). Raises CannotMeasure."""
    return measure_all(pages(find_sample()), times)


def measure_all(wanted: Iterable[Page], times: int, sample: Sample | None = None) -> tuple[list[PageResult], list[str]]:
    sample = sample or find_sample()
    results, post_only = [], []
    with _quiet(), signed_in({MEMBER: sample.member, STAFF: sample.staff}) as clients:
        for page in wanted:
            result = _measure(page, clients[page.who], times)
            if result is None:
                post_only.append(page.name)
            else:
                results.append(result)
    return results, post_only


def _measure(page: Page, client: Client, times: int) -> PageResult | None:
    """None for a page that does not answer to GET."""
    _ask(page, client)
    with counted_queries() as seen:
        status, body = _ask(page, client)
    if status == NOT_GET:
        return None
    took, used = [], _cpu()
    for _round in range(times):
        start = time.perf_counter()
        _ask(page, client)
        took.append((time.perf_counter() - start) * 1000)
    used = _cpu() - used
    return PageResult(
        page=page.name,
        who=page.who,
        status=status,
        queries=len(seen),
        median_ms=round(statistics.median(took), 1),
        p95_ms=round(percentile(took, 0.95), 1),
        kb=round(len(body) / 1024, 1),
        gzip_kb=round(len(gzip.compress(body, 6)) / 1024, 1),
        cpu_ms=round(used * 1000 / times, 1),
    )


def _cpu() -> float:
    """Seconds of processor time so far: unlike a clock's, they hardly change when other work shares the machine."""
    seconds = time.process_time()
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        stat = Path(f"/proc/{connection.connection.info.backend_pid}/stat")
        if stat.exists():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            seconds += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds


def _ask(page: Page, client: Client) -> tuple[int, bytes]:
    """(status, body); of a stream what comes first. What a POST writes is undone."""
    if page.post is None:
        return _answer(client.get(page.path))
    with transaction.atomic():
        answer = _answer(client.post(page.path, page.post))
        transaction.set_rollback(True)
    return answer


def _answer(response: Any) -> tuple[int, bytes]:
    if not response.streaming:
        return response.status_code, response.content
    stream = iter(response.streaming_content)
    # The headings, and the first rows; the test client closes the rest when it is dropped, and keeps the connection.
    return response.status_code, next(stream) + next(stream, b"")


@contextmanager
def counted_queries() -> Iterator[list[str]]:
    """The statements that this process sends meanwhile."""
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least this share of them do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that a 405 or a missing directory of collected static files would write."""
    logger = logging.getLogger("django.request")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No directory at")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def signed_in(users: dict[str, User]) -> Iterator[dict[str, Client]]:
    """A client each, and a visitor's, signed in without a login, which would change `last_login`; their sessions go
    at the end."""
    engine = import_module(settings.SESSION_ENGINE)
    clients, sessions = {VISITOR: _client()}, []
    for who, user in users.items():
        session = engine.SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        sessions.append(session)
        clients[who] = _client()
        clients[who].cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    try:
        yield clients
    finally:
        for session in sessions:
            session.delete()


def _client() -> Client:
    hosts = [host for host in settings.ALLOWED_HOSTS if not host.startswith(("*", "."))] or ["localhost"]
    facts = {"HTTP_HOST": hosts[0], "HTTP_ACCEPT_LANGUAGE": settings.LANGUAGE_CODE, "wsgi.url_scheme": "https"}
    client = Client(raise_request_exception=False, **facts)
    client.cookies[TIME_ZONE_COOKIE] = "Europe/Berlin"  # as every browser with script says its own
    return client


def run(times: int) -> dict[str, Any]:
    results, post_only = measure_pages(times)
    return {"times": times, "pages": [asdict(result) for result in results], "post_only": post_only}


def wrong(result: dict[str, Any]) -> list[str]:
    """The pages that answered neither 200 nor 302."""
    return [page["page"] for page in result["pages"] if page["status"] not in GOOD]


def lines(result: dict[str, Any]) -> Iterable[str]:
    yield from table(result["pages"], result["pages"][0])
    yield f"{result['times']} requests each. Not asked for, POST only: {', '.join(result['post_only']) or 'none'}."
