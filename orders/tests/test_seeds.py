"""First-boot settings that the portal serves itself: to whoever knows the order's token, while it is being opened."""

from __future__ import annotations

import json
import struct
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import UserFactory
from cards import vault
from cards.choices import ProductType
from cards.tests.factories import make_batch
from orders.choices import OrderState
from orders.fulfilment import request_for
from orders.machines import PortalInventory
from orders.models import Machine, Order
from orders.provisioning.cloud_init import sha512_crypt
from orders.provisioning.inventory import AssignedMachine
from orders.provisioning.iso import SECTOR, disc

from .cast import place_order, put_into
from .factories import MachineFactory

pytestmark = pytest.mark.django_db
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGLv4zYWtMbVqBHxlFWQUiGu0bqIe2cGTKzYfPbeJWOr alice"


@pytest.fixture
def order() -> Order:
    batch, codes = make_batch(product_type=ProductType.BARE_METAL)
    order = place_order(code=codes[0], member=UserFactory.create(), image_id=batch.line.images.get().pk)
    login = vault.seal_access({"ssh_key": KEY, "password": "Xk7-first-boot"}, order_key=order.key)
    Order.objects.filter(pk=order.pk).update(provider="metal", login=login, hostname="alpha.example")
    order.refresh_from_db()
    return order


@pytest.fixture
def machine(order: Order) -> AssignedMachine:
    MachineFactory.create()
    return PortalInventory("metal").assign(request_for(order))


def files_of(image: bytes) -> dict[str, bytes]:
    """The files of a disc, by a reader of its own that follows the standard's offsets."""
    descriptor = image[16 * SECTOR : 17 * SECTOR]
    assert descriptor[:6] == b"\x01CD001"
    assert image[17 * SECTOR :][:6] == b"\xffCD001"
    assert struct.unpack("<I", descriptor[80:84])[0] * SECTOR == len(image)
    start, size = struct.unpack("<I", descriptor[158:162])[0], struct.unpack("<I", descriptor[166:170])[0]
    folder, files = image[start * SECTOR : start * SECTOR + size], {}
    while folder and folder[0]:
        at, length = struct.unpack("<I", folder[2:6])[0], struct.unpack("<I", folder[10:14])[0]
        name = folder[33 : 33 + folder[32]]
        if not folder[25] & 2:
            files[name.decode().partition(".")[0].lower()] = image[at * SECTOR : at * SECTOR + length]
        folder = folder[folder[0] :]
    return files


def test_a_disc_holds_its_files() -> None:
    big = b"x" * (2 * SECTOR + 1)
    image = disc("cidata", {"user-data": big, "meta-data": b"m"})
    assert image[16 * SECTOR + 40 : 16 * SECTOR + 72] == b"cidata".ljust(32)
    assert files_of(image) == {"user-data": big, "meta-data": b"m"}
    assert len(image) % SECTOR == 0


def test_what_was_wished_for_is_on_the_disc(client: Client, order: Order, machine: AssignedMachine) -> None:
    answer = client.get(machine.seed_path)
    assert answer.status_code == 200
    files = files_of(answer.content)
    head, _, body = files["user-data"].decode().partition("\n")
    settings = json.loads(body)
    (user,) = settings["users"]
    assert head == "#cloud-config"
    assert (settings["hostname"], settings["fqdn"]) == ("alpha", "alpha.example")
    assert user["ssh_authorized_keys"] == [KEY]
    assert user["hashed_passwd"] == sha512_crypt("Xk7-first-boot", user["hashed_passwd"].split("$")[2])
    assert b"Xk7-first-boot" not in answer.content
    assert str(order.key) in files["meta-data"].decode()
    assert settings["phone_home"]["url"] == f"http://testserver{machine.seed_path.replace('seed.iso', 'booted/')}"


def test_it_can_be_read_in_pieces(client: Client, machine: AssignedMachine) -> None:
    whole = client.get(machine.seed_path).content
    pieces = b""
    while len(pieces) < len(whole):
        asked = {"Range": f"bytes={len(pieces)}-{len(pieces) + 9999}"}
        answer = client.get(machine.seed_path, headers=asked)
        assert answer.status_code == 206
        assert answer["Content-Range"].startswith(f"bytes {len(pieces)}-")
        pieces += answer.content
    assert pieces == whole
    assert client.get(machine.seed_path, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    head = client.head(machine.seed_path)
    assert (head.status_code, head["Content-Length"]) == (200, str(len(whole)))


def test_nobody_else_reads_it(client: Client, order: Order, machine: AssignedMachine) -> None:
    _, _, key, token, _ = machine.seed_path.split("/")
    other = ("0" if token[0] != "0" else "1") + token[1:]
    assert client.get(machine.seed_path).status_code == 200
    for path in (f"/machines/{key}/{other}/seed.iso", f"/machines/{uuid4()}/{token}/seed.iso"):
        assert client.get(path).status_code == 404
        assert client.post(path.replace("seed.iso", "booted/")).status_code == 404
    assert Machine.objects.get().phoned_at is None


@pytest.mark.parametrize("over", ["open", "no machine"])
def test_it_ends_with_the_opening(client: Client, order: Order, machine: AssignedMachine, over: str) -> None:
    if over == "open":
        put_into(order, OrderState.ACTIVE, login=None)
    else:
        PortalInventory("metal").give_up(order.key)
    assert client.get(machine.seed_path).status_code == 404
    assert client.post(machine.seed_path.replace("seed.iso", "booted/")).status_code == 404


def test_the_call_home_makes_the_order_due(order: Order, machine: AssignedMachine) -> None:
    later = timezone.now() + timezone.timedelta(hours=1)
    Order.objects.filter(pk=order.pk).update(next_attempt_at=later)
    stranger = Client(enforce_csrf_checks=True)
    booted = machine.seed_path.replace("seed.iso", "booted/")
    assert stranger.get(booted).status_code == 405
    for _time in range(2):
        assert stranger.post(booted, {"hostname": "alpha"}).status_code == 204
    order.refresh_from_db()
    assert order.next_attempt_at < later
    found = PortalInventory("metal").of(order.key)
    assert found is not None
    assert found.phoned


def test_an_older_access_key_still_opens_it(
    client: Client, order: Order, machine: AssignedMachine, settings: Any
) -> None:
    settings.ACCESS_KEYS = f"new:{'A' * 43}= {settings.ACCESS_KEYS}"
    assert client.get(machine.seed_path).status_code == 200
    settings.ACCESS_KEYS = f"new:{'A' * 43}="
    assert client.get(machine.seed_path).status_code == 404
