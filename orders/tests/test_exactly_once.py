"""One order per card, whoever fires how many requests at once: real web processes, real sockets."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.choices import CardStatus, ProductType
from cards.models import AuditEvent, Batch, CardUse, Image, UseCount
from cards.tests.factories import SPECS, LineFactory, make_batch
from orders.models import Order
from orders.tests.race import fire_together, form_request, redeem_request, session_of, start_web

CARDS = 10
REQUESTS = 20

pytestmark = pytest.mark.django_db(transaction=True)


def everyone_at_once(port: int, codes: list[str], image_id: int, members: list[User]) -> Counter[int]:
    """Every card in turn, all members at the same instant; how often each status was answered."""
    sessions = [session_of(member) for member in members]
    statuses: Counter[int] = Counter()
    for code in codes:
        answers = fire_together(port, [redeem_request(session, code, image_id) for session in sessions])
        statuses.update(answer.status for answer in answers)
    return statuses


def test_twenty_members_post_the_same_code_at_once(start_process: Callable[..., object]) -> None:
    batch, codes = make_batch(quantity=CARDS)
    members = UserFactory.create_batch(REQUESTS)
    port = start_web(start_process, "pickup_portal.wsgi")
    statuses = everyone_at_once(port, codes, Image.objects.get(line=batch.line).pk, members)
    made = Order.objects.count()
    print(f"\n{CARDS} cards x {REQUESTS} requests on {connection.vendor}: {made} orders, {dict(statuses)}")
    assert Order.objects.count() == CARDS
    assert batch.cards.filter(status=CardStatus.USED, sealed__isnull=True).count() == CARDS
    assert CardUse.objects.count() == CARDS
    assert sum(UseCount.objects.values_list("used", flat=True)) == CARDS
    assert AuditEvent.objects.filter(action="redeem").count() == CARDS
    assert statuses[303] + statuses[302] == CARDS
    assert sum(statuses.values()) == CARDS * REQUESTS
    assert not [status for status in statuses if status >= 500]


def test_the_same_member_posting_twenty_times_is_sent_to_his_one_order(start_process: Callable[..., object]) -> None:
    batch, codes = make_batch(quantity=1)
    session = session_of(UserFactory.create())
    port = start_web(start_process, "pickup_portal.wsgi")
    image_id = Image.objects.get(line=batch.line).pk
    answers = fire_together(port, [redeem_request(session, codes[0], image_id)] * 10)
    order = Order.objects.get()
    assert {answer.status for answer in answers} <= {302, 303}
    assert {answer.location for answer in answers} == {f"/orders/{order.number}/"}


@pytest.mark.postgres(reason="on SQLite BEGIN IMMEDIATE lets one writer in at a time, so this race cannot be shown")
def test_negative_control_without_the_claim_cards_are_given_twice(start_process: Callable[..., object]) -> None:
    batch, codes = make_batch(quantity=CARDS)
    members = UserFactory.create_batch(REQUESTS)
    port = start_web(start_process, "orders.tests.careless_wsgi")
    with without_second_guard():
        statuses = everyone_at_once(port, codes, Image.objects.get(line=batch.line).pk, members)
        per_card = Counter(Order.objects.values_list("card_id", flat=True))
        doubled = sum(count > 1 for count in per_card.values())
        worst = max(per_card.values())
        print(f"\nnegative control: {doubled} of {CARDS} cards doubled, worst {worst} orders, {dict(statuses)}")
        assert doubled >= 1


class without_second_guard:
    """The unique constraints on an order's card and on a card's open use, taken away for a while."""

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE orders_order DROP CONSTRAINT orders_order_card_id_key")
            cursor.execute("DROP INDEX carduse_one_open")

    def __exit__(self, *error: object) -> None:
        forget_everything()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE orders_order ADD CONSTRAINT orders_order_card_id_key UNIQUE (card_id)")
            cursor.execute("CREATE UNIQUE INDEX carduse_one_open ON cards_carduse (card_id) WHERE returned_at IS NULL")


def forget_everything() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE orders_order, cards_carduse CASCADE")


def test_the_form_of_a_batch_posted_twenty_times_at_once_makes_one_batch(start_process: Callable[..., object]) -> None:
    line = LineFactory.create()
    fields: dict[str, object] = {
        "request_token": uuid.uuid4(), "name": "云服务器-香港", "line": line.pk, "term_months": 12, "quantity": 5,
        "validity": "12", "windows_policy": "not_offered", **SPECS[ProductType.CLOUD_SERVER],
    }  # fmt: skip
    session = session_of(UserFactory.create(superuser=True))
    port = start_web(start_process, "pickup_portal.wsgi")
    answers = fire_together(port, [form_request("/staff/cards/add/cloud_server/", session, fields)] * REQUESTS)
    batch = Batch.objects.get()
    assert {(answer.status, answer.location) for answer in answers} == {(302, f"/staff/cards/{batch.pk}/")}
    assert AuditEvent.objects.filter(action="create_batch").count() == 1
    assert UseCount.objects.count() == 16
    again = fire_together(  # negative control: without the token each form is a batch of its own
        port,
        [
            form_request("/staff/cards/add/cloud_server/", session, fields | {"request_token": uuid.uuid4()})
            for _ in range(3)
        ],
    )
    assert len({answer.location for answer in again}) == 3
    assert Batch.objects.count() == 4
