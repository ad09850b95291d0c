"""Giving and taking staff roles, by the command that alone can."""

from __future__ import annotations

import pytest
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.tests.commands import run_json
from accounts.tests.factories import UserFactory
from cards.choices import AuditAction
from cards.models import AuditEvent
from pickup_portal.staff import set_roles

pytestmark = pytest.mark.django_db
LIST, ADD = reverse("staff:batch-list"), reverse("staff:batch-add")


@pytest.fixture
def root() -> User:
    user: User = UserFactory.create(username="root", staff=True, is_superuser=True)
    return user


@pytest.fixture
def wang() -> User:
    user: User = UserFactory.create(username="wang.fang")
    return user


def test_a_member_becomes_a_colleague_and_a_member_again(root: User, wang: User) -> None:
    client = Client(headers={"accept-language": "en"})
    client.force_login(wang)
    assert client.get(LIST).status_code == 403
    facts = run_json("staff_roles", "wang.fang", "distributor", "issuer", "--actor", "root", "--reason", "joins us")
    assert facts == {
        "username": "wang.fang",
        "staff": True,
        "superuser": False,
        "roles": "issuer, distributor",
        "changed": True,
    }
    assert (client.get(LIST).status_code, client.get(ADD).status_code) == (200, 200)
    run_json("staff_roles", "wang.fang", "support", "--actor", "root")
    assert (client.get(LIST).status_code, client.get(ADD).status_code) == (200, 403)
    assert run_json("staff_roles", "wang.fang", "--none", "--actor", "root")["staff"] is False
    assert client.get(LIST).status_code == 403
    said = [
        (event.actor, event.detail["account"], event.detail["roles_before"], event.detail["roles"])
        for event in AuditEvent.objects.filter(action=AuditAction.CHANGE_ROLES).order_by("pk")
    ]
    assert said == [
        (root, wang.pk, [], ["issuer", "distributor"]),
        (root, wang.pk, ["issuer", "distributor"], ["support"]),
        (root, wang.pk, ["support"], []),
    ]
    client.force_login(root)
    page = client.get(reverse("staff:audit-trail")).content.decode()
    assert "Staff roles changed" in page
    assert "issuer, distributor" in page


def test_what_is_so_already_is_no_event(root: User, wang: User) -> None:
    assert set_roles(user=wang, roles=["cashier"], actor=root)
    assert not set_roles(user=wang, roles=["cashier"], actor=root)
    assert run_json("staff_roles", "wang.fang")["roles"] == "cashier"
    assert AuditEvent.objects.filter(action=AuditAction.CHANGE_ROLES).count() == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["emperor", "--actor", "root"], "no role 'emperor'"),
        (["issuer", "--none", "--actor", "root"], "or give --none"),
        (["issuer"], "Say who wants it"),
        (["issuer", "--actor", "colleague"], "no superuser"),
        (["issuer", "--actor", "wang.fang"], "not an active member of staff"),
    ],
)
def test_what_is_refused(root: User, wang: User, arguments: list[str], says: str) -> None:
    UserFactory.create(username="colleague", staff=True)
    with pytest.raises(CommandError, match=says):
        run_json("staff_roles", "wang.fang", *arguments)
    wang.refresh_from_db()
    assert (wang.is_staff, wang.groups.count(), AuditEvent.objects.count()) == (False, 0, 0)
