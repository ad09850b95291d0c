"""Measuring the portal where it stands: its pages in this process, and its redemptions beside the bare statements.

Pages: the urls of our own apps and the account pages a person opens, each asked for with GET. One request warms up
and is counted (status, queries, size); the timed ones run without any instrument.

Redemptions: cards of a scratch batch go through `redemption.redeem`; others of the same batch through nothing but the
three statements and the insert that redeeming cannot do without, one transaction each. The bare ones are undone.
"""

from __future__ import annotations

import gzip
import logging
import math
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.middleware import TIME_ZONE_COOKIE
from accounts.models import User
from accounts.wakeup import muted
from cards import actions, generation
from cards.actions import Validity
from cards.choices import BatchStatus, CardStatus, ProductType
from cards.models import Batch, Card, Line
from cards.vault import BatchVault
from orders import redemption
from orders.choices import STUCK, OrderState
from orders.models import Order

from . import demo

OWN_APPS = ("accounts", "cards", "orders", "pickup_portal")
NO_PAGES = ("readyz", "metrics")  # for machines; `healthz` stays as the floor: middleware and client, no database
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


class CannotMeasure(Exception):
    """There is nothing to measure here; the text says what is missing."""


# --- Pages ------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Page:
    name: str
    who: str
    path: str


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


@dataclass(frozen=True)
class Sample:
    """Who asks, and the rows that stand in the addresses."""

    member: User
    staff: User
    order: Order
    stuck: Order
    card: Card

    def arguments(self, name: str, wanted: frozenset[str]) -> dict[str, object]:
        order = self.stuck if name == "staff-orders:cancel" else self.order
        known = {
            "number": order.number,
            "pk": self.card.batch_id,
            "serial": self.card.serial,
            "product_type": ProductType.CLOUD_SERVER.value,
        }
        return {key: known[key] for key in wanted}


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
    order = Order.objects.filter(member=member, state=OrderState.ACTIVE).latest("pk")
    stuck = Order.objects.filter(state__in=STUCK).order_by("pk").last()
    return Sample(member, staff, order, stuck or order, card)


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
    sample = find_sample()
    results, post_only = [], []
    with _quiet(), _signed_in(sample) as clients:
        for page in pages(sample):
            result = _measure(page, clients[page.who], times)
            if result is None:
                post_only.append(page.name)
            else:
                results.append(result)
    return results, post_only


def _measure(page: Page, client: Client, times: int) -> PageResult | None:
    """None for a page that does not answer to GET."""
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        response = client.get(page.path)
    if response.status_code == NOT_GET:
        return None
    took = []
    for _round in range(times):
        start = time.perf_counter()
        client.get(page.path)
        took.append((time.perf_counter() - start) * 1000)
    body = b"".join(response) if response.streaming else response.content
    return PageResult(
        page=page.name,
        who=page.who,
        status=response.status_code,
        queries=len(seen),
        median_ms=round(statistics.median(took), 1),
        p95_ms=round(percentile(took, 0.95), 1),
        kb=round(len(body) / 1024, 1),
        gzip_kb=round(len(gzip.compress(body, 6)) / 1024, 1),
    )


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
def _signed_in(sample: Sample) -> Iterator[dict[str, Client]]:
    """A client each, signed in without a login, which would change `last_login`; their sessions go at the end."""
    engine = import_module(settings.SESSION_ENGINE)
    clients, sessions = {VISITOR: _client()}, []
    for who, user in ((MEMBER, sample.member), (STAFF, sample.staff)):
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


# --- Redemptions ------------------------------------------------------------------------------------------------------
BENCH_MEMBER, BENCH_LINE = "bench-member", "bench (scratch)"
SPEC = {"web_space_gb": 1, "databases": 0, "sites": 1, "traffic_gb": 1}


@dataclass(frozen=True)
class RedeemResult:
    """`ratio` is how much of the bare statements' speed a whole redemption reaches."""

    batch: str
    redemptions: int
    per_second: float
    raw_per_second: float
    ratio: float


def measure_redemptions(count: int) -> RedeemResult:
    """Redeem cards of a new scratch batch, in turn with as many by bare statements, so that both see the same machine.

    Raises CannotMeasure.
    """
    backend = settings.PROVISIONERS.get(demo.PROVIDER, {}).get("BACKEND", "")
    if not str(backend).endswith("SimulatorProvisioner"):
        raise CannotMeasure(
            f"The provisioner {demo.PROVIDER!r} must be the simulator: the orders will be opened by it."
        )
    member, batch = _scratch(2 * count + 1)  # one to warm up
    cards = list(batch.cards.order_by("serial"))
    bare, whole = cards[:count], cards[count:]
    vault = BatchVault.of(batch)
    codes = [vault.open(card.serial, bytes(card.sealed or b"")) for card in whole]
    taken = raw = 0.0
    try:
        with muted():
            warm_up = redemption.redeem(code=codes.pop(), member=member)
            rows = [_order_row(warm_up, card) for card in bare]
            for code, card, row in zip(codes, bare, rows, strict=True):
                start = time.perf_counter()
                redemption.redeem(code=code, member=member)
                middle = time.perf_counter()
                _redeem_bare(card, member, row)
                taken, raw = taken + middle - start, raw + time.perf_counter() - middle
    finally:
        _undo_bare(bare)
        Line.objects.filter(pk=batch.line_id).update(active=False)
        actions.disable_batch(batch=batch, actor=None, reason="bench")
    return RedeemResult(
        batch=batch.number,
        redemptions=count,
        per_second=round(count / taken, 1),
        raw_per_second=round(count / raw, 1),
        ratio=round(raw / taken, 2),
    )


def _scratch(quantity: int) -> tuple[User, Batch]:
    """A member nobody can sign in as, and a whole batch on a line of its own."""
    member, made = User.objects.get_or_create(username=BENCH_MEMBER)
    if made:
        member.set_unusable_password()
        member.save(update_fields=["password"])
    line, _made = Line.objects.update_or_create(
        name=BENCH_LINE, defaults={"provider": demo.PROVIDER, "offers_virtual_host": True, "active": True}
    )
    with muted():
        batch = actions.create_batch(
            product_type=ProductType.VIRTUAL_HOST,
            name="bench",
            line=line,
            spec=SPEC,
            term_months=1,
            quantity=quantity,
            validity=Validity.months(1),
            reference_price=Decimal(0),
        )
    generation.run_to_end(batch.pk)
    batch.refresh_from_db()
    return member, batch


def _redeem_bare(card: Card, member: User, row: tuple[str, list[Any]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_CARD[connection.vendor], [bytes(card.lookup)])
        cursor.execute(_LOCK_BATCH[connection.vendor], [card.batch_id])
        now = timezone.now()
        new: list[Any] = [CardStatus.USED, now, member.pk]
        asked: list[Any] = [card.pk, CardStatus.UNUSED, BatchStatus.READY, now]
        cursor.execute(_USE_CARD, new + asked)
        if cursor.rowcount != 1:
            raise CannotMeasure("A bare statement did not find its card.")
        cursor.execute(*row)


@transaction.atomic
def _undo_bare(cards: list[Card]) -> None:
    """The bare statements wrote no usage log and no audit row: nothing of them may stay."""
    Order.objects.filter(batch=cards[0].batch_id, number__startswith=_RAW).delete()
    for card in cards:
        Card.objects.filter(pk=card.pk).update(status=CardStatus.UNUSED, used_at=None, used_by=None, sealed=card.sealed)


_RAW = "bench-"
_LOCK_CARD = {
    "postgresql": "SELECT id, batch_id, status FROM cards_card WHERE lookup = %s FOR NO KEY UPDATE",
    "sqlite": "SELECT id, batch_id, status FROM cards_card WHERE lookup = %s",  # BEGIN IMMEDIATE holds the lock
}
_LOCK_BATCH = {
    "postgresql": "SELECT disabled_at, expires_at FROM cards_batch WHERE id = %s FOR SHARE",
    "sqlite": "SELECT disabled_at, expires_at FROM cards_batch WHERE id = %s",
}
_USE_CARD = (
    "UPDATE cards_card SET status = %s, used_at = %s, used_by_id = %s, sealed = NULL WHERE id = %s AND status = %s "
    "AND batch_id IN (SELECT id FROM cards_batch WHERE status = %s AND disabled_at IS NULL AND expires_at > %s)"
)


def _order_row(like: Order, card: Card) -> tuple[str, list[Any]]:
    """The insert of a final order for the card, so that no worker takes it up."""
    fields = [field for field in Order._meta.concrete_fields if not field.primary_key]
    fresh = {
        "key": Order._meta.get_field("key").get_default(),
        "number": f"{_RAW}{card.pk}",
        "card_id": card.pk,
        "state": OrderState.FAILED,
    }
    values = [
        field.get_db_prep_save(fresh.get(field.attname, getattr(like, field.attname)), connection) for field in fields
    ]
    columns, marks = ", ".join(str(field.column) for field in fields), ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {Order._meta.db_table} ({columns}) VALUES ({marks})", values  # noqa: S608 (own names only)


def as_rows(results: list[PageResult]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
