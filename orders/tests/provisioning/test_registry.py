from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from orders.checks import check_provisioners
from orders.provisioning.registry import EXTRAS, get_provisioner
from orders.provisioning.simulator import SimulatorProvisioner

BACKEND = "orders.provisioning.simulator.SimulatorProvisioner"
WHM = "orders.provisioning.cpanel.WhmProvisioner"
WHM_OPTIONS = {"url": "https://panel.example:2087", "username": "portal", "token": "t"}


def test_key_names_an_adapter(settings: Any) -> None:
    settings.PROVISIONERS = {"hk-cloud": {"BACKEND": BACKEND, "OPTIONS": {"delay": 1}}}
    provisioner = get_provisioner("hk-cloud")
    assert isinstance(provisioner, SimulatorProvisioner)
    assert (provisioner.key, provisioner.options) == ("hk-cloud", {"delay": 1})
    assert check_provisioners(None) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "needs a BACKEND"),
        ("text", "needs a BACKEND"),
        ({"BACKEND": "orders.nowhere.Nothing"}, "orders.nowhere"),
        ({"BACKEND": "nodots"}, "nodots"),
        ({"BACKEND": "orders.models.Order"}, "not a Provisioner"),
        ({"BACKEND": "orders.provisioning.base.Provisioner"}, "abstract"),
        ({"BACKEND": BACKEND, "OPTION": {}}, "OPTION is neither"),
        ({"BACKEND": BACKEND, "OPTIONS": {"colour": "red"}}, "unknown OPTIONS colour"),
        ({"BACKEND": BACKEND, "OPTIONS": ["delay"]}, "must be a mapping"),
        ({"BACKEND": WHM, "OPTIONS": WHM_OPTIONS | {"timeout": "soon"}}, "cannot be read: .*soon"),
        ({"BACKEND": WHM, "OPTIONS": WHM_OPTIONS | {"ca_file": "/nowhere.pem"}}, "cannot be read: .*No such file"),
    ],
)
def test_mistakes_are_named(settings: Any, config: Any, message: str) -> None:
    settings.PROVISIONERS = {"x": config}
    with pytest.raises(ImproperlyConfigured, match=message):
        get_provisioner("x")
    (error,) = check_provisioners(None)
    assert re.search(message, error.msg)


def test_unknown_key_lists_the_known(settings: Any) -> None:
    settings.PROVISIONERS = {"a": {"BACKEND": BACKEND}}
    with pytest.raises(ImproperlyConfigured, match="Known: a"):
        get_provisioner("b")


def test_no_provisioner_at_all_is_an_error(settings: Any) -> None:
    settings.PROVISIONERS = {}
    (error,) = check_provisioners(None)
    assert error.id == "orders.E001"


def test_a_missing_package_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    for module in ("ssh", "ssh_nginx"):
        monkeypatch.delitem(sys.modules, f"orders.provisioning.{module}", raising=False)
    settings.PROVISIONERS = {"web": {"BACKEND": "orders.provisioning.ssh_nginx.NginxProvisioner", "OPTIONS": {}}}
    (error,) = check_provisioners(None)
    assert "pip install asyncssh" in error.msg


def test_the_portal_itself_needs_no_adapters_package() -> None:
    """Its own requirements hold none, and nothing that is imported at start needs one."""
    hidden = "; ".join(f"sys.modules[{name!r}] = None" for name in EXTRAS)
    code = f"import sys; {hidden}; import django; django.setup(); import pickup_portal.urls, orders.tasks"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "pickup_portal.settings"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=django_settings.BASE_DIR)
    required = (Path(django_settings.BASE_DIR) / "requirements.txt").read_text()
    assert not [package for package in EXTRAS.values() if f"\n{package}==" in required]
