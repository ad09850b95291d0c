"""Django's admin shows, changes nothing, and shows no secret."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.admin import ReadOnlyAdmin
from accounts.models import User
from accounts.tests.factories import UserFactory
from cards.models import AuditEvent, Batch, Card, CardUse, Image, Line, OperatingSystem, ServerModel

from .factories import make_batch
from .staff import client_of, use

pytestmark = pytest.mark.django_db
MODELS = [AuditEvent, Batch, Card, CardUse, Image, Line, OperatingSystem, ServerModel]


@pytest.mark.parametrize("model", MODELS)
def test_even_a_superuser_changes_nothing(model: type) -> None:
    batch, _ = make_batch(product_type="bare_metal")
    use(batch, 1, UserFactory.create(), "R1")
    client = client_of(UserFactory.create(superuser=True))
    row = model._default_manager.first()  # type: ignore[attr-defined]
    name = model._meta.model_name  # type: ignore[attr-defined]
    assert client.get(reverse(f"admin:cards_{name}_changelist")).status_code == 200
    assert client.get(reverse(f"admin:cards_{name}_change", args=[row.pk])).status_code == 200
    assert client.post(reverse(f"admin:cards_{name}_change", args=[row.pk]), {}).status_code == 403
    assert client.post(reverse(f"admin:cards_{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert client.get(reverse(f"admin:cards_{name}_add")).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()  # type: ignore[attr-defined]


def test_models_of_other_packages_are_not_a_way_around() -> None:
    names = {model._meta.label for model in admin.site._registry}
    assert "auth.Group" in names
    assert not names & {"account.EmailAddress", "mfa.Authenticator", "mfa.RecoveryCodes"}
    assert all(isinstance(site, ReadOnlyAdmin) for site in admin.site._registry.values())


def test_strangers_sign_in_on_the_portals_own_page() -> None:
    response = Client().get(reverse("admin:login"))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


def test_no_secret_is_among_the_fields() -> None:
    secrets = {"wrapped_key", "key_id", "request_token", "lookup", "sealed", "password"}
    for model in (Batch, Card, User):
        site = admin.site.get_model_admin(model)
        request = type("Request", (), {"user": UserFactory.build(superuser=True)})()
        shown = {name for _, options in site.get_fieldsets(request) for name in options["fields"]}
        assert shown
        assert not shown & secrets
        assert not set(site.list_display) & secrets


def test_no_condition_in_the_url_tells_a_hidden_field() -> None:
    """Negative control: the lists' own filters do narrow."""
    batch, _codes = make_batch(quantity=2)
    boss = UserFactory.create(superuser=True)
    UserFactory.create(username="hanmei")
    client = client_of(boss)
    people, card_list = reverse("admin:accounts_user_changelist"), reverse("admin:cards_card_changelist")
    last4 = batch.cards.get(serial=1).last4
    assert client.get(people, {"password__startswith": boss.password[:3]}).status_code == 400
    assert client.get(people, {"id__exact": boss.pk, "password": boss.password}).status_code == 400
    assert client.get(card_list, {"last4__startswith": last4[:1]}).status_code == 400
    assert "hanmei" in client.get(people, {"is_staff__exact": 0}).content.decode()
    assert "hanmei" not in client.get(people, {"is_staff__exact": 1}).content.decode()


def test_every_filter_of_the_admin_is_one_that_it_offers() -> None:
    allowed = 0
    for model, site in admin.site._registry.items():
        for field in model._meta.get_fields():
            for how in ("", "__exact", "__startswith", "__regex", "__gt", "__in"):
                fits = site.lookup_allowed(field.name + how, "x")
                allowed += fits
                assert not fits or (how == "__exact" and field.name in site.list_filter), (model, field.name + how)
    assert allowed
