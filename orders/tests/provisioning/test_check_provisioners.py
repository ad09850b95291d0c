from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.tests.factories import UserFactory
from cards.tests.factories import make_batch
from orders import fulfilment
from orders.choices import OrderState, ServiceState
from orders.models import Service
from orders.provisioning.simulator import Simulator, SimulatorProvisioner
from orders.tests.cast import place_order, put_into

from .conformance import request_for

BACKEND = "orders.provisioning.simulator.SimulatorProvisioner"


@pytest.fixture(autouse=True)
def provisioners(settings: Any, tmp_path: Path) -> None:
    settings.SIMULATOR_LEDGER = str(tmp_path / "ledger.sqlite3")
    settings.PROVISIONERS = {
        "good": {"BACKEND": BACKEND, "OPTIONS": {"capacity": 3}},
        "also-good": {"BACKEND": BACKEND},
    }


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("check_provisioners", *args, stdout=out)
    return out.getvalue()


def test_all_answer() -> None:
    output = run()
    assert "good: ok" in output
    assert "also-good: ok" in output
    assert "capacity 3" in output
    assert Simulator().resources() == []


def test_json_of_one() -> None:
    (result,) = json.loads(run("--json", "good"))
    assert (result["provisioner"], result["ok"], result["error"]) == ("good", True, "")


def test_trouble_of_one_is_told_with_the_others() -> None:
    Simulator().arm("transient", verb="check")
    out = io.StringIO()
    with pytest.raises(CommandError, match="In trouble: good"):
        call_command("check_provisioners", "--json", stdout=out)
    results = json.loads(out.getvalue())
    assert [result["ok"] for result in results] == [False, True]
    assert results[0]["error"] == "The simulator is busy."


def test_a_bug_of_one_is_its_trouble_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Simulator, "resources", lambda *args, **how: {}["hunter2"])
    out = io.StringIO()
    with pytest.raises(CommandError, match="In trouble: good, also-good"):
        call_command("check_provisioners", stdout=out)
    assert "good: trouble" in out.getvalue()
    assert "KeyError" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_wrong_settings_are_trouble_too(settings: Any) -> None:
    settings.PROVISIONERS["gone"] = {"BACKEND": "orders.provisioning.nowhere.Nothing"}
    with pytest.raises(CommandError, match="gone"):
        run()
    with pytest.raises(CommandError, match="unheard-of"):
        run("unheard-of")


@pytest.mark.django_db
def test_orphans_are_what_no_order_wants() -> None:
    batch, codes = make_batch()
    image = batch.line.images.get().pk
    kept, returned, ended = (place_order(code=code, member=UserFactory.create(), image_id=image) for code in codes)
    provisioner = SimulatorProvisioner("good", {"delay": 0})
    for order in (kept, returned, ended):  # kept stays pending, without a service
        provisioner.ensure(fulfilment.request_for(order))
    stray = request_for("cloud_server")
    provisioner.ensure(stray)
    put_into(returned, OrderState.CANCELLED, card=None, returned_card=returned.card)
    put_into(ended, OrderState.ACTIVE)
    Service.objects.filter(order=ended).update(state=ServiceState.TERMINATED, wanted=ServiceState.TERMINATED)
    out = io.StringIO()
    with pytest.raises(CommandError, match="In trouble: good"):
        call_command("check_provisioners", "--orphans", "--json", stdout=out)
    good, also_good = json.loads(out.getvalue())
    assert good["orphans"] == sorted(map(str, (returned.key, ended.key, stray.key)))
    assert (also_good["ok"], also_good["orphans"]) == (True, [])
    assert len(Simulator().resources()) == 4, "listed, never deleted"
