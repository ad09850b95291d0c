"""The provisioners' page: test the connection, look for orphans; nothing is asked on a GET, nothing hangs the page."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders import probe
from orders.choices import OrderState
from orders.models import Order
from orders.provisioning.base import PermanentError
from orders.provisioning.simulator import SimulatorProvisioner

from .cast import client_of, place_order, put_into

pytestmark = pytest.mark.django_db
CHECK = "/staff/provisioners/simulator/check/"
ORPHANS = "/staff/provisioners/simulator/orphans/"


@pytest.fixture
def client() -> Client:
    user = UserFactory.create(staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["check_provisioners", "view_order"]))
    return client_of(user)


def test_a_get_asks_nobody(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(self: Any) -> list[str]:
        raise AssertionError

    monkeypatch.setattr(SimulatorProvisioner, "check", asked)
    assert client.get("/staff/provisioners/").status_code == 200
    assert client.get(CHECK).status_code == 405
    assert client.get(ORPHANS).status_code == 405


def test_a_provisioner_that_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatorProvisioner, "check", lambda self: ["version 7", "3 nodes"])
    page = client.post(CHECK).content.decode()
    assert "simulator answers and accepts our credentials." in page
    assert "version 7" in page
    fragment = client.post(CHECK, headers={"hx-request": "true"}).content.decode()
    assert "<html" not in fragment
    assert "3 nodes" in fragment


def test_trouble_is_said_by_its_class_with_the_raw_text_behind(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: Any) -> list[str]:
        raise PermanentError("401 wrong <token>")

    monkeypatch.setattr(SimulatorProvisioner, "check", refuses)
    page = client.post(CHECK, headers={"hx-request": "true"}).content.decode()
    assert "The provisioner refuses; trying again changes nothing." in page
    assert "401 wrong &lt;token&gt;" in page


def test_a_bug_of_an_adapter_shows_its_class_only(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(self: Any) -> list[str]:
        raise KeyError("s3cret")

    monkeypatch.setattr(SimulatorProvisioner, "check", breaks)
    page = client.post(CHECK).content.decode()
    assert "KeyError" in page
    assert "s3cret" not in page


def test_one_that_hangs_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    release, started = threading.Event(), threading.Semaphore(0)

    def hangs(self: Any) -> list[str]:
        started.release()
        assert release.wait(300)
        return []

    monkeypatch.setattr(SimulatorProvisioner, "check", hangs)
    monkeypatch.setattr(probe, "LIMIT", timedelta(milliseconds=50))
    before = set(threading.enumerate())
    assert "No answer within" in client.post(CHECK).content.decode()
    for _ in range(probe.MOST_AT_ONCE - 1):
        client.post(CHECK)
    for _ in range(probe.MOST_AT_ONCE):
        assert started.acquire(timeout=120)
    assert "Several provisioners hang at the moment." in client.post(CHECK).content.decode()
    assert not started.acquire(blocking=False)
    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(120)
    monkeypatch.setattr(probe, "LIMIT", timedelta(seconds=60))
    monkeypatch.setattr(SimulatorProvisioner, "check", lambda self: ["well again"])
    assert "well again" in client.post(CHECK).content.decode()


def test_orphans_are_told_apart_and_nothing_is_removed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    member = UserFactory.create()
    _batch, codes = make_batch(quantity=2)
    image = _batch.line.images.get()
    wanted = put_into(place_order(code=codes[0], member=member, image_id=image.pk), OrderState.ACTIVE)
    gone = place_order(code=codes[1], member=member, image_id=image.pk)
    Order.objects.filter(pk=gone.pk).update(
        state=OrderState.CANCELLED, card=None, returned_card_id=gone.card_id, domain=""
    )
    nobodys = uuid.uuid4()
    monkeypatch.setattr(SimulatorProvisioner, "list_keys", lambda self: [wanted.key, gone.key, nobodys])
    monkeypatch.setattr(SimulatorProvisioner, "terminate", lambda self, external_id: pytest.fail("removed"))
    page = client.post(ORPHANS).content.decode()
    assert "2 orphans at simulator" in page
    assert str(nobodys) in page
    assert reverse("staff-orders:detail", args=[gone.number]) in page
    assert str(wanted.key) not in page
    monkeypatch.setattr(SimulatorProvisioner, "list_keys", lambda self: [wanted.key])
    assert "No orphan at simulator" in client.post(ORPHANS).content.decode()


def test_an_unknown_key_is_no_page(client: Client) -> None:
    assert client.post("/staff/provisioners/nothing/check/").status_code == 404
