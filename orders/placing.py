"""The rows of a new order: itself, its number, the first event of its timeline and the surcharge that it costs."""

from __future__ import annotations

import secrets
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Field
from django.utils.translation import get_language
from django.views.decorators.debug import sensitive_variables

from accounts.actions import record_entry
from accounts.choices import LedgerKind
from accounts.models import User
from cards import catalog, codes, vault
from cards.models import Card, Image

from .choices import OrderEventKind
from .exceptions import DomainTaken, NoOwnLogin
from .models import Order
from .offer import surcharge_of
from .wishes import Wishes


def new_number() -> str:
    """An order number: ten symbols of the code alphabet (50 bits), such as 7K3M9-QPX2T."""
    text = "".join(secrets.choice(codes.ALPHABET) for _symbol in range(10))
    return f"{text[:5]}-{text[5:]}"


_FIRST_EVENT = "INSERT INTO orders_orderevent (order_id, kind, actor_id, note, at) VALUES (%s, %s, %s, %s, %s)"


@sensitive_variables("login")
def _sealed_login(login: dict[str, str], key: UUID) -> bytes | None:
    """None when he wished for none. Raises NoOwnLogin where this process has no key to keep it under."""
    try:
        return vault.seal_access(login, order_key=key) if login else None
    except vault.KeyUnavailable:
        raise NoOwnLogin from None


@sensitive_variables("wanted", "login")
def place_order(
    card: Card, member: User, number: str, image: Image | None, wanted: Wishes, at: datetime, who: User, note: str
) -> Order:
    batch = card.batch
    surcharge = surcharge_of(image, batch) if image else Decimal(0)
    site = f"{number.lower()}.{settings.HOSTING_DOMAIN}" if catalog.product_of(batch.product_type).is_site else ""
    key = uuid4()
    login = _sealed_login(wanted.login(), key)
    order = Order(
        key=key,
        number=number,
        member=member,
        card=card,
        batch=batch,
        product_type=batch.product_type,
        product_name=batch.name,
        line_id=batch.line_id,
        provider=batch.line.provider,
        spec=batch.spec,
        term_months=batch.term_months,
        os_name=str(image.operating_system) if image else "",
        os_family=image.operating_system.family if image else "",
        image_reference=image.reference if image else "",
        hostname=site or wanted.hostname or f"srv-{number.lower()}",
        domain=wanted.domain or site,
        login=login,
        surcharge=surcharge,
        currency=batch.currency,
        next_attempt_at=at + settings.WAKE_GRACE,
        deadline=at + settings.ORDER_DEADLINE[batch.product_type],
        created_at=at,
        language=member.language or ((get_language() or "") if who == member else ""),
    )
    _insert(order)
    with connection.cursor() as cursor:
        moment = connection.ops.adapt_datetimefield_value(at)
        cursor.execute(_FIRST_EVENT, [order.pk, OrderEventKind.CREATED, who.pk, note, moment])
    if surcharge:
        record_entry(member=member, kind=LedgerKind.SURCHARGE, amount=-surcharge, reference=number, created_by=who)
    return order


def _insert(order: Order) -> None:
    """Two sites cannot answer under one domain; the constraint decides, in a savepoint so that its word can be told.
    The portal's own names are made of order numbers: no two are alike."""
    if order.domain in ("", order.hostname):
        _insert_row(order)
        return
    try:
        with transaction.atomic():
            _insert_row(order)
    except IntegrityError:
        if Order.objects.filter(domain=order.domain).exists():
            raise DomainTaken from None
        raise


@cache
def _insertion() -> tuple[str, list[Field[Any, Any]]]:
    fields = [field for field in Order._meta.local_concrete_fields if not field.primary_key]
    columns, places = ", ".join(str(field.column) for field in fields), ", ".join(["%s"] * len(fields))
    return f"INSERT INTO orders_order ({columns}) VALUES ({places}) RETURNING id", fields  # noqa: S608 (constants)


def _insert_row(order: Order) -> None:
    """As `order.save(force_insert=True)`, by a statement that is composed once, as in `cards.actions.use_card`."""
    statement, fields = _insertion()
    values = [field.get_db_prep_save(field.pre_save(order, add=True), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        (order.pk,) = cursor.fetchone()
    order._state.adding, order._state.db = False, connection.alias
