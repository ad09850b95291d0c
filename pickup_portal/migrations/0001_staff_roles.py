"""Make a group per staff role. Permissions are created here too, since post_migrate has not run on a new database.

What the roles may do besides came with the migrations after this one; `pickup_portal.roles` says how they stand now.
"""

from django.db import migrations

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
ROLES = {
    "issuer": (*READ, "cards.add_batch"),
    "distributor": (*READ, "cards.download_batch", "cards.reveal_card"),
    "supervisor": (*READ, "cards.disable_batch", "cards.extend_batch", "orders.return_card"),
    "operator": (*READ, "orders.retry_order", "orders.return_card", "orders.redeem_for_member"),
    "support": READ,
    "auditor": (
        *READ,
        "cards.view_audit_trail",
        "cards.view_auditevent",
        "accounts.view_ledgerentry",
        "accounts.view_user",
    ),
}


def make_roles(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    for label in ("accounts", "cards", "orders"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias, apps=apps)
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, wanted in ROLES.items():
        group, _created = Group.objects.get_or_create(name=name)
        for dotted in wanted:
            app, codename = dotted.split(".")
            group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("cards", "0001_initial"),
        ("orders", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
