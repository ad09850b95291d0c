"""Making the demo: its history is lived through the portal's own actions, oldest first, with the clock set back.

1. Catalogue, people and balances.
2. Every batch and every use in the order of their times, so that IDs grow with time; cards come from the actions,
   orders from `redemption.redeem` and `fulfilment.run` with a simulator that does not wait. Each sees the time it is
   said to have happened at (`set_back`), so that nothing has to be dated back: ledger, usage log, timelines and audit
   trail are append-only even here.
3. Switched-off batches at the very end: before, their uses could not be redeemed.
4. The staff login is activated last: it is the mark that the demo is whole. A seeding that was killed goes on where
   it stopped, because batches have fixed request tokens and used cards are left alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import slugify

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import LedgerEntry, User
from accounts.wakeup import muted
from cards import actions, chain, generation
from cards.actions import Validity, add_months
from cards.choices import CardStatus, ProductType
from cards.days import today
from cards.models import Batch, Card, Image, Line, OperatingSystem, ServerModel
from cards.vault import BatchVault
from orders import fulfilment, redemption
from orders.choices import OrderState, ServiceState
from orders.models import Notice, Order, Service
from orders.provisioning.simulator import Simulator

from . import demo
from .demo import DemoBatch, DemoLine, DemoUse

_NAMESPACE = uuid.UUID("6f1c7c57-2f5a-4a54-9a3a-5b1f0c0de001")


def token_of(key: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, key)


def demo_batches() -> QuerySet[Batch]:
    return Batch.objects.filter(request_token__in=[token_of(batch.key) for batch in demo.BATCHES])


def is_whole() -> bool:
    """Whether the demo stands, or its staff login is somebody's already."""
    return User.objects.filter(username=demo.STAFF_LOGIN, is_active=True).exists()


def has_foreign_data() -> bool:
    """Whether the database holds batches that are not the demo's: it is in real use then."""
    return Batch.objects.exclude(pk__in=demo_batches()).exists()


def seed() -> None:
    """Make the demo, or what is missing of it."""
    now = timezone.now()
    with muted(), _instant_simulator(), _relaxed_sqlite():
        _make_catalogue()
        staff = _make_people(now)
        happenings: list[tuple[datetime, DemoBatch | DemoUse]] = [
            *((_instant(batch.made, now), batch) for batch in demo.BATCHES),
            *((_instant(use.at, now), use) for use in demo.USES),
        ]
        for at, happening in sorted(happenings, key=lambda pair: pair[0]):
            with set_back(at):
                if isinstance(happening, DemoBatch):
                    _make_batch(happening, staff)
                else:
                    _use_card(happening, now)
        for batch in demo.BATCHES:
            _close_batch(batch, staff)
        chain.seal_new_events(everything=True)
        User.objects.filter(pk=staff.pk).update(is_active=True)


def fresh_codes() -> list[dict[str, Any]]:
    """One unused card of each product type: [{"code", "name", "product_type"}]; fewer once a batch is used up."""
    found = []
    for key in demo.DEMO_CODES:
        batch = Batch.objects.filter(request_token=token_of(key)).first()
        card = batch and batch.cards.filter(status=CardStatus.UNUSED, sealed__isnull=False).order_by("serial").first()
        if batch and card:
            found.append({"code": _code_of(card, batch), "name": batch.name, "product_type": batch.product_type})
    return found


@contextmanager
def _instant_simulator() -> Iterator[None]:
    """The simulator without its delays, in this process only."""
    configured = settings.PROVISIONERS[demo.PROVIDER]
    before = configured.get("OPTIONS", {})
    configured["OPTIONS"] = {**before, "delay": 0}
    try:
        yield
    finally:
        configured["OPTIONS"] = before


@contextmanager
def _relaxed_sqlite() -> Iterator[None]:
    """On SQLite, do not wait for the disk at every commit: a demo lost to a power cut is made again."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            cursor.execute("PRAGMA synchronous=FULL")


@contextmanager
def set_back(at: datetime) -> Iterator[None]:
    """Inside, this process takes `at` for the present. Only for a demo, in a process of its own."""
    with patch.object(timezone, "now", lambda: at):
        yield


def _instant(given: datetime | timedelta, now: datetime) -> datetime:
    if isinstance(given, timedelta):
        return now - given
    return timezone.make_aware(given, timezone.get_default_timezone())


# --- catalogue and people -------------------------------------------------------------------------------------------
def _make_catalogue() -> None:
    systems = [
        OperatingSystem.objects.get_or_create(name=name, version=version, defaults={"family": family})[0]
        for name, version, family in demo.SYSTEMS
    ]
    for wanted in demo.LINES:
        line = _make_line(wanted)
        for system in systems:
            Image.objects.get_or_create(
                line=line, operating_system=system, defaults={"reference": slugify(str(system))}
            )


def _make_line(wanted: DemoLine) -> Line:
    line, _created = Line.objects.get_or_create(
        name=wanted.name,
        defaults={
            "region": wanted.region,
            "provider": demo.PROVIDER,
            "offers_cloud_server": ProductType.CLOUD_SERVER in wanted.offers,
            "offers_virtual_host": ProductType.VIRTUAL_HOST in wanted.offers,
            "offers_bare_metal": ProductType.BARE_METAL in wanted.offers,
            "cpu_core_price": Decimal(15),
            "memory_gb_price": Decimal(8),
            "system_disk_gb_price": Decimal("0.30"),
            "data_disk_gb_price": Decimal("0.25"),
            "bandwidth_mbps_price": wanted.bandwidth,
            "extra_ip_price": Decimal(30),
            "web_space_gb_price": Decimal(2),
            "database_price": Decimal(5),
            "windows_monthly_price": wanted.windows,
        },
    )
    for name, price in wanted.models.items():
        ServerModel.objects.get_or_create(line=line, name=name, defaults={"monthly_price": price})
    return line


def _make_people(now: datetime) -> User:
    for_staff, for_members = make_password(demo.STAFF_PASSWORD), make_password(demo.MEMBER_PASSWORD)
    staff = _make_user(demo.STAFF_LOGIN, "财务管理员", for_staff, is_staff=True, is_superuser=True, is_active=False)
    for group in Group.objects.order_by("name"):
        login = slugify(group.name)
        _make_user(login, group.name, for_staff, is_staff=True).groups.add(group)
    for login, name, member_id, balance in demo.MEMBERS:
        member = _make_user(login, name, for_members, external_id=member_id)
        if balance and not LedgerEntry.objects.filter(member=member).exists():
            with set_back(now - timedelta(days=80)):
                record_entry(member=member, kind=LedgerKind.TOP_UP, amount=balance, created_by=staff)
    return staff


def _make_user(login: str, name: str, hashed: str, **fields: Any) -> User:
    defaults = {"email": f"{login}@example.com", "first_name": name, "password": hashed, **fields}
    user, created = User.objects.get_or_create(username=login, defaults=defaults)
    if created:  # as if confirmed: allauth sets up no second factor before that
        EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


# --- batches ----------------------------------------------------------------------------------------------------------
def _make_batch(wanted: DemoBatch, staff: User) -> None:
    batch = actions.create_batch(
        product_type=wanted.product_type,
        name=wanted.name,
        line=Line.objects.get(name=wanted.line),
        spec=demo.SPECS[wanted.product_type] | wanted.spec,
        term_months=12,
        quantity=wanted.quantity,
        validity=_validity(wanted),
        windows_policy=wanted.windows,
        reference_price=wanted.price,
        created_by=staff,
        request_token=token_of(wanted.key),
    )
    generation.run_to_end(batch.pk)


def _validity(wanted: DemoBatch) -> Validity:
    if wanted.years:
        return Validity.months(12 * wanted.years)
    return Validity.until(add_months(today(), 36) if wanted.three_years or not wanted.until else wanted.until)


def _close_batch(wanted: DemoBatch, staff: User) -> None:
    """Switch the batch off if it is to be."""
    batch = Batch.objects.get(request_token=token_of(wanted.key))
    if wanted.disabled and not batch.disabled_at:
        actions.disable_batch(batch=batch, actor=staff, reason="demo")


def _code_of(card: Card, batch: Batch) -> str:
    return BatchVault.of(batch).open(card.serial, bytes(card.sealed or b""))


# --- uses -------------------------------------------------------------------------------------------------------------
def _use_card(wanted: DemoUse, now: datetime) -> None:
    batch = Batch.objects.get(request_token=token_of(wanted.batch))
    card = batch.cards.get(serial=wanted.serial)
    if card.status == CardStatus.USED:
        return
    image = next((i for i in batch.line.images.all() if str(i.operating_system) == wanted.system), None)
    order = redemption.redeem(
        code=_code_of(card, batch),
        member=User.objects.get(username=wanted.member),
        image_id=image.pk if image else None,
    )
    with set_back(timezone.now() + timedelta(seconds=40 + 25 * (wanted.serial % 4))):  # what opening a product takes
        _open_product(order, wanted.ends)
    Notice.objects.filter(order=order).update(mailed_at=timezone.now(), next_attempt_at=None)  # told long ago
    ended = Service.objects.filter(order=order, expires_at__lt=now)
    ended.update(state=ServiceState.TERMINATED, wanted=ServiceState.TERMINATED)


def _open_product(order: Order, ends: str) -> None:
    """One attempt at the simulator, which is told to refuse or to be busy where the order shall not become active."""
    if ends == OrderState.FAILED:
        Simulator().arm("fail", key=order.key)
    elif ends == OrderState.NEEDS_ATTENTION:
        Simulator().arm("transient", key=order.key)
        Order.objects.filter(pk=order.pk).update(deadline=timezone.now())
    elif ends == OrderState.PENDING:
        Simulator().arm("transient", key=order.key, times=5)  # opens after two or three minutes
    fulfilment.run(order.pk)
