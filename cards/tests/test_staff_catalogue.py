"""The catalogue pages: lines, server models, systems, images; what was sold stays as it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from cards import catalogue_actions, pricing
from cards.choices import AuditAction, ProductType
from cards.exceptions import AlreadyThere
from cards.models import AuditEvent, Batch, Image, Line, OperatingSystem, ServerModel

from .factories import SPECS, ImageFactory, LineFactory, OperatingSystemFactory, ServerModelFactory, make_batch
from .staff import client_of, staff_with, text_of

pytestmark = pytest.mark.django_db
KINDS = ("line", "image", "servermodel", "operatingsystem")
PRICES = [field.name for field in Line._meta.fields if field.name.endswith("_price")]


@pytest.fixture
def client() -> Client:
    return client_of(staff_with(*(f"{verb}_{kind}" for kind in KINDS for verb in ("view", "add", "change"))))


def typed(**changes: Any) -> dict[str, Any]:
    numbers = {name: "10" for name in PRICES if name != "windows_monthly_price"}
    rest = {
        "name": "东京 BGP",
        "region": "日本",
        "provider": "simulator",
        "offers_cloud_server": "on",
        "windows": "same",
    }
    return numbers | rest | {"active": "on"} | changes


def test_a_line_is_added_with_its_audit_row(client: Client) -> None:
    answer = client.post(reverse("staff:line-add"), typed(windows="extra", windows_monthly_price="45"))
    line = Line.objects.get()
    assert answer["Location"] == reverse("staff:line-detail", args=[line.pk])
    assert (line.name, line.provider, line.windows_monthly_price) == ("东京 BGP", "simulator", Decimal(45))
    event = AuditEvent.objects.get(action=AuditAction.CHANGE_CATALOGUE)
    assert (event.detail["kind"], event.detail["change"], event.detail["name"]) == ("line", "added", "东京 BGP")


def test_a_change_is_audited_with_before_and_after_and_nothing_else(client: Client) -> None:
    line = LineFactory.create(cpu_core_price=Decimal(20))
    same = {field: getattr(line, field) for field in PRICES if getattr(line, field) is not None}
    offers = {"offers_cloud_server": "on", "offers_virtual_host": "on", "offers_bare_metal": "on"}
    data = typed(name=line.name, region=line.region, **(same | offers | {"cpu_core_price": "25.50"}))
    assert client.post(reverse("staff:line-edit", args=[line.pk]), data).status_code == 302
    event = AuditEvent.objects.get(action=AuditAction.CHANGE_CATALOGUE)
    assert event.detail["fields"] == {"cpu_core_price": ["20.00", "25.50"]}
    assert client.post(reverse("staff:line-edit", args=[line.pk]), data).status_code == 302
    assert AuditEvent.objects.filter(action=AuditAction.CHANGE_CATALOGUE).count() == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"windows": "extra"}, "Say how much more Windows costs each month."),
        ({"cpu_core_price": "-1"}, "greater than or equal to 0"),
        ({"offers_cloud_server": ""}, "Choose at least one product that the line offers."),
        ({"provider": "nowhere"}, "Select a valid choice"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_a_line_may_not_be_is_said_beside_the_field(client: Client, changes: dict[str, str], says: str) -> None:
    answer = client.post(reverse("staff:line-add"), typed(**changes))
    assert answer.status_code == 422
    assert says in text_of(answer)
    assert not Line.objects.exists()
    assert not AuditEvent.objects.exists()


def test_the_database_itself_refuses_a_negative_price() -> None:
    line = LineFactory.create()
    for name in PRICES:
        with pytest.raises(IntegrityError), transaction.atomic():
            Line.objects.filter(pk=line.pk).update(**{name: Decimal("-0.01")})
    model = ServerModelFactory.create(line=line)
    with pytest.raises(IntegrityError), transaction.atomic():
        ServerModel.objects.filter(pk=model.pk).update(monthly_price=Decimal(-1))


def test_nothing_that_was_sold_changes(client: Client) -> None:
    line = LineFactory.create(windows_monthly_price=Decimal(30))
    ImageFactory.create(line=line)
    model = ServerModelFactory.create(line=line)
    batch, _codes = make_batch(product_type=ProductType.BARE_METAL, line=line, quantity=1, windows_policy="member_pays")
    before = Batch.objects.filter(pk=batch.pk).values().get()
    quoted = pricing.quote(line, batch.product_type, batch.spec, 12).total
    dearer = typed(name="other", windows="extra", windows_monthly_price="99", offers_bare_metal="on")
    assert client.post(reverse("staff:line-edit", args=[line.pk]), dearer).status_code == 302
    address = reverse("staff:server-model-edit", args=[model.pk])
    assert client.post(address, {"name": model.name, "monthly_price": "9999"}).status_code == 302
    line.refresh_from_db()
    assert pricing.quote(line, batch.product_type, SPECS[ProductType.BARE_METAL], 12).total != quoted
    assert Batch.objects.filter(pk=batch.pk).values().get() == before


def test_server_models_images_and_systems(client: Client) -> None:
    line = LineFactory.create()
    page = reverse("staff:line-detail", args=[line.pk])
    add_model = reverse("staff:server-model-add", args=[line.pk])
    assert client.post(add_model, {"name": "R640", "monthly_price": "1500", "active": "on"})["Location"] == page
    taken = client.post(add_model, {"name": "R640", "monthly_price": "1", "active": "on"})
    assert (taken.status_code, ServerModel.objects.count()) == (422, 1)
    assert "The line has a server model of this name already." in text_of(taken)
    client.post(reverse("staff:system-add"), {"name": "Debian", "version": "13", "family": "linux"})
    system = OperatingSystem.objects.get()
    add_image = reverse("staff:image-add", args=[line.pk])
    client.post(add_image, {"operating_system": system.pk, "reference": "img-13", "active": "on"})
    image = Image.objects.get()
    assert (image.line, image.operating_system, image.reference) == (line, system, "img-13")
    other = OperatingSystemFactory.create(name="Ubuntu", version="24.04")
    edit = reverse("staff:image-edit", args=[image.pk])
    client.post(edit, {"operating_system": other.pk, "reference": "img-13b"})
    image.refresh_from_db()
    assert (image.operating_system, image.reference, image.active) == (system, "img-13b", False)
    assert "img-13b" in text_of(client.get(page))
    assert AuditEvent.objects.filter(action=AuditAction.CHANGE_CATALOGUE).count() == 4


def test_two_lines_of_one_name_are_refused_by_the_action_too() -> None:
    LineFactory.create(name="one")
    other = LineFactory.create(name="two")
    with pytest.raises(AlreadyThere):
        catalogue_actions.save_line(line=other, fields={"name": "one"}, actor=None)
    assert not AuditEvent.objects.exists()


def test_looking_is_not_changing() -> None:
    line = LineFactory.create()
    viewer = client_of(staff_with("view_line"))
    page = viewer.get(reverse("staff:line-detail", args=[line.pk]))
    assert page.status_code == 200
    assert reverse("staff:line-edit", args=[line.pk]) not in page.content.decode()
    assert viewer.post(reverse("staff:line-edit", args=[line.pk]), typed()).status_code == 403
    assert Line.objects.get().name == line.name


def test_a_line_without_a_configured_provisioner_says_so(client: Client) -> None:
    line = LineFactory.create(provider="gone")
    assert "No provisioner “gone” is configured" in text_of(client.get(reverse("staff:line-detail", args=[line.pk])))
    assert "gone" in client.get(reverse("staff:line-edit", args=[line.pk])).content.decode()


def test_a_system_is_never_two(client: Client) -> None:
    system = OperatingSystemFactory.create()
    answer = client.post(
        reverse("staff:system-add"), {"name": system.name, "version": system.version, "family": "linux"}
    )
    assert (answer.status_code, OperatingSystem.objects.count()) == (422, 1)
    with pytest.raises(ValidationError):
        OperatingSystem(name=system.name, version=system.version, family="linux").validate_constraints()


def test_every_label_is_chinese_and_every_price_has_its_currency(client: Client) -> None:
    line = LineFactory.create()
    client.cookies["django_language"] = "zh-hans"
    pages = [reverse(f"staff:{name}", args=[line.pk]) for name in ("image-add", "server-model-add", "line-edit")]
    image, model, edit = (text_of(client.get(page)) for page in pages)
    assert "操作系统" in image
    assert "Operating system" not in image
    assert "每月单价（CNY）" in model
    assert "Linux 单价（CNY，每月）" in edit
    assert "Windows 每月加价（CNY）" in edit
    assert edit.index("在售") < edit.index("业务类型") < edit.index("Linux 单价")  # not as if Windows were meant
