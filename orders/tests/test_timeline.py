"""An order's timeline is only ever added to, by the database."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders.models import OrderEvent

from .cast import place_order

pytestmark = pytest.mark.django_db


def placed() -> OrderEvent:
    batch, codes = make_batch()
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    return order.events.get()


def test_an_event_is_never_changed() -> None:
    event = placed()
    with pytest.raises(DatabaseError), transaction.atomic():
        OrderEvent.objects.filter(pk=event.pk).update(note="never happened")
    assert OrderEvent.objects.get().note == ""


def test_an_event_is_never_removed() -> None:
    placed()
    with pytest.raises(DatabaseError), transaction.atomic():
        OrderEvent.objects.all().delete()
    assert OrderEvent.objects.count() == 1
