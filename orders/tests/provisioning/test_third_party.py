"""An adapter from outside the portal, by its dotted path (docs/examples/acme_portal.py): nothing here knows it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.urls import reverse

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders import fulfilment, lifecycle
from orders.checks import check_provisioners
from orders.choices import OrderState, ServiceState
from orders.models import Service
from orders.provisioning.base import ProvisionRequest
from orders.tests.cast import client_of, place_order

from .conformance import SPECS, ConformanceCases, FarSide

EXAMPLES = Path(django_settings.BASE_DIR) / "docs" / "examples"
BACKEND = "acme_portal.AcmeProvisioner"
A_DIRECTORY = "Acme's control plane is a directory, with no network between"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pip install acme-portal` would have it, for this process and those that it starts."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")]))


class AcmeFarSide(FarSide):
    faults = frozenset({"no_capacity"})
    remembers_terminated = False
    reads_back = frozenset({*SPECS["cloud_server"], "hostname", "image", "address"})
    absent: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("hang", "late", "lost_reply", "garbage", "error", "fail", "transient", "quota"), A_DIRECTORY),
        **dict.fromkeys(("wrong_credentials", "nobody_there", "ssh_key", "password"), A_DIRECTORY),
        "remembers_terminated": A_DIRECTORY,
    }

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = {"BACKEND": BACKEND, "OPTIONS": {"directory": str(directory), "most": 3}}

    def servers(self) -> dict[str, Any]:
        return {path.stem: json.loads(path.read_text()) for path in self.directory.glob("*.json")}

    def count(self, key: UUID) -> int:
        return int(str(key) in self.servers())

    def total(self) -> int:
        return len([one for one in self.servers().values() if one["state"] != "filler"])

    def delivered(self, key: UUID) -> dict[str, Any]:
        return dict(self.servers()[str(key)]["spec"])

    def arrived(self, request: ProvisionRequest) -> dict[str, str]:
        return {name: self.servers()[str(request.key)][name] for name in ("hostname", "image")}

    def arm(self, fault: str, *, seconds: float = 30.0) -> None:
        for number in range(3):
            (self.directory / f"{UUID(int=number)}.json").write_text('{"state": "filler"}')

    def disarm(self) -> None:
        for number in range(3):
            (self.directory / f"{UUID(int=number)}.json").unlink(missing_ok=True)

    def stored(self) -> bytes:
        return json.dumps(self.servers()).encode()


class TestConformance(ConformanceCases):
    adapter = ""  # it does not ship: no column of its own
    product_types: ClassVar[tuple[str, ...]] = ("cloud_server",)
    callers = 2

    @pytest.fixture
    def far_side(self, tmp_path: Path) -> AcmeFarSide:
        return AcmeFarSide(tmp_path)


@pytest.mark.django_db
def test_an_order_lives_its_whole_life_at_an_adapter_from_outside(tmp_path: Path, settings: Any) -> None:
    batch, (code,) = make_batch(quantity=1)
    settings.PROVISIONERS = {batch.line.provider: {"BACKEND": BACKEND, "OPTIONS": {"directory": str(tmp_path)}}}
    assert check_provisioners(None) == []
    assert sys.modules["acme_portal"].__file__ == str(EXAMPLES / "acme_portal.py")
    member = UserFactory.create()
    order = place_order(code=code, member=member, image_id=batch.line.images.get().pk)
    assert fulfilment.run(order.pk)
    order.refresh_from_db()
    assert (order.state, order.external_id) == (OrderState.ACTIVE, str(order.key))
    (server,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert server["spec"] == order.spec
    service = Service.objects.get()
    page = client_of(member).get(reverse("orders:service", args=[order.number])).content.decode()
    assert "192.0.2.80" in page, "what was read back is shown"
    for wanted in (ServiceState.SUSPENDED, ServiceState.ACTIVE, ServiceState.TERMINATED):
        assert lifecycle.decide(service, wanted, actor=None, reason="test")
        assert lifecycle.run(service.pk)
        service.refresh_from_db()
        assert service.state == wanted
    assert list(tmp_path.glob("*.json")) == []


def test_its_mistakes_are_told_at_start_like_those_of_our_own(settings: Any) -> None:
    settings.PROVISIONERS = {"acme": {"BACKEND": BACKEND, "OPTIONS": {"directory": "here"}}}
    (error,) = check_provisioners(None)
    assert "absolute path" in error.msg
    settings.PROVISIONERS = {"acme": {"BACKEND": BACKEND, "OPTIONS": {"colour": "red"}}}
    (error,) = check_provisioners(None)
    assert "unknown OPTIONS colour" in error.msg
