"""import_machines: CSV into the inventory, all or nothing, told by line; no login is ever shown."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.tests.factories import UserFactory
from cards import vault
from cards.choices import AuditAction
from cards.models import AuditEvent
from cards.tests.factories import LineFactory, ServerModelFactory
from orders.choices import MachineState
from orders.models import Machine

from .factories import MachineFactory

pytestmark = pytest.mark.django_db
SECRET = "controllers-own-secret"
HEAD = "provisioner,server_model,serial,url,system,address,username,password,mac\n"
GOOD = (
    "metal,E5-2680,SN1,https://10.0.0.1/,1,198.51.100.1,admin," + SECRET + ",52-54-00-AA-BB-01\n"
    "metal,E5-2680,SN2,https://10.0.0.2,/redfish/v1/Systems/Self,198.51.100.2,admin," + SECRET + ",\n"
)


@pytest.fixture(autouse=True)
def catalogue(settings: Any) -> None:
    backend = "orders.provisioning.redfish.RedfishProvisioner"
    settings.PROVISIONERS = settings.PROVISIONERS | {
        "metal": {"BACKEND": backend, "OPTIONS": {"portal_url": "https://portal.example"}}
    }
    ServerModelFactory.create(line=LineFactory.create(provider="metal"), name="E5-2680")


def run(tmp_path: Path, text: str, *options: str) -> tuple[dict[str, Any], str, str]:
    """(result, the refusal, everything that was printed)."""
    file, out, err = tmp_path / "machines.csv", StringIO(), StringIO()
    file.write_text(text, encoding="utf-8-sig")
    refusal = ""
    try:
        call_command("import_machines", str(file), "--json", *options, stdout=out, stderr=err)
    except CommandError as error:
        refusal = str(error)
    return json.loads(out.getvalue() or "{}"), refusal, out.getvalue() + err.getvalue() + refusal


def test_machines_are_added(tmp_path: Path) -> None:
    carol = UserFactory.create(staff=True)
    result, refusal, printed = run(tmp_path, HEAD + GOOD, "--actor", carol.username)
    assert (result, refusal) == ({"machines": 2, "serials": ["SN1", "SN2"], "bad_lines": []}, "")
    first, second = Machine.objects.order_by("pk")
    assert (first.url, first.system, first.mac) == (
        "https://10.0.0.1",
        "/redfish/v1/Systems/1",
        "52:54:00:aa:bb:01",
    )
    assert second.system == "/redfish/v1/Systems/Self"
    assert {first.state, second.state} == {MachineState.FREE}
    assert vault.open_access(bytes(first.login), order_key=first.key) == {"username": "admin", "password": SECRET}
    assert SECRET.encode() not in bytes(first.login)
    events = AuditEvent.objects.filter(action=AuditAction.CHANGE_MACHINE, actor=carol)
    assert [event.detail["machine"] for event in events.order_by("pk")] == ["SN1", "SN2"]
    assert SECRET not in printed + str([event.detail for event in events])


def test_what_the_file_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "server_model,serial,url,system,address\nE5-2680,SN1,https://10.0.0.1,1,198.51.100.1\n"
    result, refusal, _printed = run(tmp_path, text, "--provisioner", "metal")
    assert {bad["column"] for bad in result["bad_lines"]} == {"username", "password"}
    assert refusal
    monkeypatch.setenv("MACHINE_USERNAME", "root")
    monkeypatch.setenv("MACHINE_PASSWORD", SECRET)
    result, refusal, printed = run(tmp_path, text, "--provisioner", "metal")
    assert (result["machines"], refusal) == (1, "")
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("elsewhere,E5-2680,SN3,https://10.0.0.3,1,198.51.100.3,a,{s},", "provisioner"),
        ("metal,R740,SN3,https://10.0.0.3,1,198.51.100.3,a,{s},", "server_model"),
        ("metal,E5-2680,,https://10.0.0.3,1,198.51.100.3,a,{s},", "serial"),
        ("metal,E5-2680,SN3,http://10.0.0.3,1,198.51.100.3,a,{s},", "url"),
        ("metal,E5-2680,SN3,https://a:{s}@10.0.0.3,1,198.51.100.3,a,{s},", "url"),
        ("metal,E5-2680,SN3,https://10.0.0.3,../../x,198.51.100.3,a,{s},", "system"),
        ("metal,E5-2680,SN3,https://10.0.0.3,1,198.51.100,a,{s},", "address"),
        ("metal,E5-2680,SN3,https://10.0.0.3,1,198.51.100.3,a,{s},52:54", "mac"),
        ("metal,E5-2680,SN3,https://10.0.0.3,1,198.51.100.3,a,{s},,{s}", "-"),
        ("metal,E5-2680,SN1,https://10.0.0.3,1,198.51.100.3,a,{s},", "serial"),
        ("metal,E5-2680,SN3,https://10.0.0.1,1,198.51.100.3,a,{s},", "url"),
        ("metal,E5-2680,SN3,https://10.0.0.3,1,198.51.100.2,a,{s},", "address"),
        ("metal,E5-2680,KNOWN,https://10.0.0.3,1,198.51.100.3,a,{s},", "serial"),
        ("metal,E5-2680,SN3,https://10.9.9.9,1,198.51.100.3,a,{s},", "all"),
    ],
)
def test_one_bad_line_and_nothing_is_added(tmp_path: Path, line: str, column: str) -> None:
    known = MachineFactory.create(serial="KNOWN", address="203.0.113.1", url="https://10.9.9.9")
    result, refusal, printed = run(tmp_path, HEAD + GOOD + line.format(s=SECRET) + "\n")
    assert [(bad["line"], bad["column"]) for bad in result["bad_lines"]] == [(4, column)]
    assert "nothing was imported" in refusal
    assert list(Machine.objects.all()) == [known]
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("serial,url\nSN1,https://10.0.0.1\n", {"server_model", "system", "address"}),
        (HEAD.strip() + ",colour\n" + GOOD, {"colour"}),
        ("", {"server_model", "serial", "url", "system", "address"}),
    ],
)
def test_the_first_line_names_the_columns(tmp_path: Path, text: str, columns: set[str]) -> None:
    result, refusal, _printed = run(tmp_path, text)
    assert {bad["column"] for bad in result["bad_lines"]} == columns
    assert refusal


def test_a_dry_run_adds_nothing(tmp_path: Path) -> None:
    result, refusal, _printed = run(tmp_path, HEAD + GOOD, "--dry-run")
    assert (result["serials"], refusal) == (["SN1", "SN2"], "")
    assert not Machine.objects.exists()
    assert run(tmp_path, HEAD)[1] == "The file holds no machine."
