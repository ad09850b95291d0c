"""Adding a batch: the three forms, the price beside them, one batch per form however often it is sent."""

from __future__ import annotations

import re
import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from cards.actions import Validity, add_months
from cards.choices import AuditAction, ProductType, ValidityKind, WindowsPolicy
from cards.exceptions import BadBatch
from cards.models import AuditEvent, Batch, Line

from .factories import SPECS, LineFactory, ServerModelFactory, make_batch
from .staff import client_of, staff_with, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return staff_with("view_batch", "add_batch")


@pytest.fixture
def client(user: User) -> Client:
    return client_of(user)


@pytest.fixture
def line() -> Line:
    line: Line = LineFactory.create(windows_monthly_price=Decimal(30))
    ServerModelFactory.create(line=line)
    return line


def typed(chosen: Line, product_type: str = ProductType.CLOUD_SERVER, **changes: Any) -> dict[str, Any]:
    return {
        "request_token": str(uuid.uuid4()),
        "name": "云服务器-香港",
        "line": chosen.pk,
        "term_months": 12,
        "quantity": 5,
        "validity": "12",
        "windows_policy": "member_pays",
        "reference_price": "",
        "note": "for the fair",
        **SPECS[product_type],
        **changes,
    }


def add(product_type: str = ProductType.CLOUD_SERVER) -> str:
    return reverse("staff:batch-add-type", args=[product_type])


def test_batch_is_made_as_typed(client: Client, user: User, line: Line) -> None:
    response = client.post(add(), typed(line), REMOTE_ADDR="192.0.2.7")
    batch = Batch.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/staff/cards/{batch.pk}/")
    assert (batch.product_type, batch.name, batch.line, batch.note) == (
        "cloud_server",
        "云服务器-香港",
        line,
        "for the fair",
    )
    assert batch.spec == SPECS[ProductType.CLOUD_SERVER]
    assert (batch.term_months, batch.quantity, batch.created_by) == (12, 5, user)
    assert batch.reference_price == Decimal("2304.00")  # (2*20 + 4*10 + 40*0.30 + 5*20) * 12
    assert (batch.validity_kind, batch.validity_months) == (ValidityKind.PERIOD, 12)
    assert (batch.windows_policy, batch.windows_surcharge) == (WindowsPolicy.MEMBER_PAYS, Decimal("360.00"))
    event = AuditEvent.objects.get(action=AuditAction.CREATE_BATCH)
    assert (event.actor, event.batch, event.address) == (user, batch, "192.0.2.7")


@pytest.mark.parametrize("product_type", [ProductType.VIRTUAL_HOST, ProductType.BARE_METAL])
def test_other_products(client: Client, line: Line, product_type: str) -> None:
    assert client.post(add(product_type), typed(line, product_type)).status_code == 302
    batch = Batch.objects.get()
    assert (batch.product_type, batch.spec) == (product_type, SPECS[product_type])


def test_virtual_host_has_no_windows_question(client: Client, line: Line) -> None:
    assert "windows_policy" in client.get(add()).content.decode()
    assert "windows_policy" not in client.get(add(ProductType.VIRTUAL_HOST)).content.decode()
    client.post(add(ProductType.VIRTUAL_HOST), typed(line, ProductType.VIRTUAL_HOST))
    assert Batch.objects.get().windows_policy == WindowsPolicy.NOT_OFFERED


def test_double_submit_makes_one_batch(client: Client, line: Line) -> None:
    form = typed(line)
    first, second = client.post(add(), form), client.post(add(), form)
    assert first["Location"] == second["Location"]
    assert (Batch.objects.count(), AuditEvent.objects.count()) == (1, 1)
    client.post(add(), typed(line))
    assert Batch.objects.count() == 2


def test_every_form_page_carries_a_token_of_its_own(client: Client, line: Line) -> None:
    pages = [client.get(add()).content.decode() for _ in range(2)]
    tokens = [re.findall(r'name="request_token" value="([0-9a-f-]{36})"', page) for page in pages]
    assert [len(found) for found in tokens] == [1, 1]
    assert tokens[0] != tokens[1]


def test_reference_price_may_be_overridden(client: Client, line: Line) -> None:
    client.post(add(), typed(line, reference_price="1000.00"))
    assert Batch.objects.get().reference_price == Decimal("1000.00")


@pytest.mark.parametrize(
    ("validity", "expected"),
    [
        ({"validity": "24"}, (ValidityKind.PERIOD, 24)),
        ({"validity": "months", "valid_months": "7"}, (ValidityKind.PERIOD, 7)),
        ({"validity": "date", "valid_until": "2045-07-28"}, (ValidityKind.DATE, None)),
    ],
)
def test_validity(client: Client, line: Line, validity: dict[str, str], expected: tuple[str, int | None]) -> None:
    client.post(add(), typed(line, **validity))
    batch = Batch.objects.get()
    assert (batch.validity_kind, batch.validity_months) == expected
    today = timezone.localdate(timezone=timezone.get_default_timezone())
    last = add_months(today, expected[1]) if expected[1] else date(2045, 7, 28)
    assert batch.last_day.date() == last


def test_nothing_is_valid_for_more_than_twenty_years(client: Client, line: Line) -> None:
    latest = add_months(timezone.localdate(timezone=timezone.get_default_timezone()), 240)
    for day in (date.max, latest + timedelta(days=1)):
        page = client.post(add(), typed(line, validity="date", valid_until=day.isoformat()))
        assert "Choose a day from today to 20 years from now." in text_of(page)
        assert page.status_code == 422
        with pytest.raises(BadBatch, match="20 years from now"):
            make_batch(line=line, validity=Validity.until(day))
    with pytest.raises(BadBatch, match="past"):
        make_batch(line=line, validity=Validity.until(date.min))
    assert not Batch.objects.exists()
    client.post(add(), typed(line, validity="date", valid_until=latest.isoformat()))
    assert Batch.objects.get().last_day.date() == latest


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"name": ""}, "name", "This field is required."),
        ({"line": "999999"}, "line", "Select a valid choice"),
        ({"cpu_cores": "0"}, "cpu_cores", "greater than or equal to 1"),
        ({"term_months": "0"}, "term_months", "greater than or equal to 1"),
        ({"quantity": "0"}, "quantity", "greater than or equal to 1"),
        ({"quantity": "51"}, "quantity", "less than or equal to 50"),
        ({"validity": "months"}, "valid_months", "Enter the number of months."),
        ({"validity": "date"}, "valid_until", "Enter the last valid day."),
        ({"validity": "date", "valid_until": "2020-01-01"}, "valid_until", "This day is over."),
        ({"reference_price": "-1"}, "reference_price", "greater than or equal to 0"),
        ({"reference_price": "5000000000"}, "reference_price", "below 1,000,000,000"),
        ({"reference_price": "1.001"}, "reference_price", "no more than 2 decimal places"),
    ],
)
def test_mistakes_stand_beside_their_field(
    client: Client, line: Line, settings: Any, changes: dict[str, str], field: str, message: str
) -> None:
    settings.BATCH_MAX_QUANTITY = 50
    response = client.post(add(), typed(line, **changes))
    assert response.status_code == 422
    errors = re.search(rf'<div class="field-errors" id="id_{field}_error">(.*?)</div>', response.content.decode(), re.S)
    assert errors is not None
    assert message in errors[1]
    assert not Batch.objects.exists()
    assert not AuditEvent.objects.exists()


def test_only_active_lines_that_offer_the_product_are_offered(client: Client, line: Line) -> None:
    LineFactory.create(name="closed line", active=False)
    LineFactory.create(name="hosts only", offers_cloud_server=False)
    page = client.get(add()).content.decode()
    assert line.name in page
    assert "closed line" not in page
    assert "hosts only" not in page


def test_chooser_shows_the_three_products_and_how_many_lines_offer_them(client: Client, line: Line) -> None:
    LineFactory.create(offers_bare_metal=False)
    shown = text_of(client.get(reverse("staff:batch-add")))
    assert "Cloud server 2 lines offer it." in shown
    assert "Virtual host 2 lines offer it." in shown
    assert "Bare metal 1 line offers it." in shown


def test_unknown_product_is_not_found(client: Client) -> None:
    assert client.get("/staff/cards/add/domain/").status_code == 404
    assert client.post("/staff/cards/add/domain/quote/").status_code == 404


def test_of_several_lines_none_is_chosen_for_the_person(client: Client, line: Line) -> None:
    assert f'<option value="{line.pk}" selected>' in client.get(add()).text
    LineFactory.create()
    page = client.get(add()).text
    assert f'<option value="{line.pk}">' in page
    assert '<option value="" selected>' in page
    assert client.post(add(), typed(line) | {"line": ""}).status_code == 422
    assert not Batch.objects.exists()


class TestQuote:
    url = "/staff/cards/add/cloud_server/quote/"

    def test_shows_how_the_price_is_computed(self, client: Client, line: Line) -> None:
        shown = text_of(client.post(self.url, typed(line), headers={"hx-request": "true"}))
        assert "CPU cores 2 × ¥20.00 ¥40.00" in shown
        assert "System disk (GB) 40 × ¥0.30 ¥12.00" in shown
        assert "Each month ¥192.00" in shown
        assert "For 1 year ¥2,304.00" in shown
        assert "Windows costs ¥360.00 more on this line for the whole term." in shown
        assert not Batch.objects.exists()

    def test_says_what_all_cards_are_worth_together(self, client: Client, line: Line) -> None:
        htmx = {"hx-request": "true"}
        assert "500 cards together ¥1,152,000.00" in text_of(
            client.post(self.url, typed(line, quantity="500"), headers=htmx)
        )
        overridden = client.post(self.url, typed(line, quantity="500", reference_price="1000"), headers=htmx)
        assert "500 cards together at ¥1,000.00 each ¥500,000.00" in text_of(overridden)
        assert "together" not in text_of(client.post(self.url, typed(line, quantity="many"), headers=htmx))

    def test_says_what_windows_will_mean(self, client: Client, line: Line) -> None:
        for policy, says in [
            ("included", "at no charge: the company bears the difference."),
            ("member_pays", "A member who chooses Windows pays ¥360.00 from the balance."),
            ("not_offered", "Members are not offered Windows."),
        ]:
            data = typed(line) | {"windows_policy": policy}
            assert says in text_of(client.post(self.url, data, headers={"hx-request": "true"})), policy

    @pytest.mark.parametrize(
        "changes", [{"line": ""}, {"line": "x"}, {"cpu_cores": "many"}, {"term_months": ""}, {"term_months": "9" * 30}]
    )
    def test_waits_for_what_is_missing(self, client: Client, line: Line, changes: dict[str, str]) -> None:
        shown = text_of(client.post(self.url, typed(line, **changes), headers={"hx-request": "true"}))
        assert "¥" not in shown
        assert "the price is computed here" in shown

    def test_another_line_brings_its_server_models(self, client: Client, line: Line) -> None:
        other: Line = LineFactory.create()
        ServerModelFactory.create(line=other, name="EPYC 7543")
        response = client.post(
            "/staff/cards/add/bare_metal/quote/",
            typed(other, ProductType.BARE_METAL, cpu="my text"),
            headers={"hx-request": "true", "hx-trigger-name": "line"},
        )
        html = response.content.decode()
        assert 'hx-swap-oob="true"' in html
        assert '<option value="EPYC 7543">' in html
        assert "E5-2680" not in html.replace("Xeon E5-2680", "")
        assert 'value="my text"' in html

    def test_without_javascript_the_page_comes_back_with_the_price(self, client: Client, line: Line) -> None:
        response = client.post(add(), typed(line, name="", calculate="1"))
        assert response.status_code == 200
        assert "For 1 year ¥2,304.00" in text_of(response)
        assert "This field is required." not in text_of(response)
        assert 'value="for the fair"' in response.content.decode()
        assert not Batch.objects.exists()

    def test_is_not_a_get(self, client: Client) -> None:
        assert client.get(self.url).status_code == 405
