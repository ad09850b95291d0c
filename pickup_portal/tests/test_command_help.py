"""Every command of the portal explains itself, speaks JSON, and takes no code as an argument."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class

from accounts.command import PortalCommand

APPS = ("accounts", "cards", "orders", "pickup_portal")
COMMANDS = sorted((name, app) for name, app in get_commands().items() if app in APPS)
PROMISED = {
    "add_cards",
    "bench",
    "cancel_batch",
    "check_invariants",
    "check_provisioners",
    "create_batch",
    "disable_batch",
    "disable_card",
    "disable_cards",
    "enable_batch",
    "enable_card",
    "export_batch",
    "extend_batch",
    "find_card",
    "import_machines",
    "invite_member",
    "import_cards",
    "list_orders",
    "list_services",
    "redeem_card",
    "replace_card",
    "resume_service",
    "retry_order",
    "rotate_master_key",
    "seed_demo",
    "serve",
    "show_batch",
    "staff_roles",
    "suspend_service",
    "sweep",
    "terminate_service",
}


def test_the_promised_commands_exist() -> None:
    assert {name for name, _app in COMMANDS} >= PROMISED


@pytest.mark.parametrize(("name", "app"), COMMANDS)
def test_help_explains_the_command(name: str, app: str) -> None:
    command = load_command_class(app, name)
    text = command.create_parser("manage.py", name).format_help()
    assert command.help
    assert all(sentence in " ".join(text.split()) for sentence in " ".join(command.help.split()).split(". ")[:1])


@pytest.mark.parametrize(("name", "app"), COMMANDS)
def test_no_command_takes_a_code_in_argv(name: str, app: str) -> None:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    assert not [action.dest for action in parser._actions if action.dest == "code"]


@pytest.mark.parametrize(("name", "app"), [(name, app) for name, app in COMMANDS if name not in {"serve"}])
def test_every_command_but_serve_speaks_json(name: str, app: str) -> None:
    command = load_command_class(app, name)
    options = command.create_parser("manage.py", name)._option_string_actions
    assert "--json" in options
    assert isinstance(command, PortalCommand)


def test_every_command_of_ours_is_listed_in_the_readme() -> None:
    text = (Path(settings.BASE_DIR) / "README.md").read_text()
    assert [name for name, _app in COMMANDS if name not in text] == []
