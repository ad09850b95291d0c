"""Staff roles as groups. Migrations write them: a change of ROLES needs one, with what it gives to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

READ = (
    "cards.view_batch",
    "cards.view_card",
    "cards.view_carduse",
    "cards.view_line",
    "cards.view_image",
    "cards.view_operatingsystem",
    "cards.view_servermodel",
    "orders.view_order",
    "orders.view_service",
)

LAST4 = "cards.view_last4"
MEMBERS = ("accounts.view_user", "accounts.view_ledgerentry")

ROLES: dict[str, tuple[str, ...]] = {
    "issuer": (*READ, "cards.add_batch", "cards.cancel_batch"),
    "distributor": (*READ, LAST4, "cards.download_batch", "cards.reveal_card"),
    "supervisor": (
        *READ,
        LAST4,
        *MEMBERS,
        "accounts.correct_top_up",
        "accounts.disable_member",
        "cards.approve_batch",
        "cards.cancel_batch",
        "cards.disable_batch",
        "cards.extend_batch",
        "cards.replace_card",
        "orders.return_card",
        "orders.terminate_service",
    ),
    "operator": (
        *READ,
        LAST4,
        *MEMBERS,
        "orders.retry_order",
        "orders.resolve_order",
        "orders.return_card",
        "orders.redeem_for_member",
        "accounts.invite_member",
        "orders.suspend_service",
        "orders.check_provisioners",
        "orders.view_machine",
        "orders.add_machine",
        "orders.change_machine",
        "orders.switch_machine",
    ),
    "catalogue": (
        *READ,
        "cards.add_line",
        "cards.change_line",
        "cards.add_image",
        "cards.change_image",
        "cards.add_servermodel",
        "cards.change_servermodel",
        "cards.add_operatingsystem",
        "cards.change_operatingsystem",
        "orders.check_provisioners",
    ),
    "cashier": (*READ, *MEMBERS, "accounts.top_up"),
    "support": (*READ, LAST4, *MEMBERS),
    "auditor": (
        *READ,
        LAST4,
        "cards.view_audit_trail",
        "cards.view_auditevent",
        "orders.view_machine",
        *MEMBERS,
    ),
}


def giving(given: Mapping[str, Iterable[str]]) -> Callable[[Any, Any], None]:
    """What a migration runs to give permissions ("app.codename") to roles, which are made where they are missing.

    The permissions are created first: post_migrate, which does it otherwise, has not run on a new database.
    """

    def give(apps: Any, schema_editor: Any) -> None:
        from django.apps import apps as installed
        from django.contrib.auth.management import create_permissions

        wanted = {name: [dotted.split(".") for dotted in permissions] for name, permissions in given.items()}
        for label in sorted({app for permissions in wanted.values() for app, _codename in permissions}):
            create_permissions(
                installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias, apps=apps
            )
        Group, Permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
        for name, permissions in wanted.items():
            group, _created = Group.objects.get_or_create(name=name)
            for app, codename in permissions:
                group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))

    return give
