"""Two roles more (catalogue: prices and images; cashier: top-ups), and what the earlier ones may do with members,
approvals and provisioners."""

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
MEMBERS = ("accounts.view_user", "accounts.view_ledgerentry")
KINDS = ("line", "image", "servermodel", "operatingsystem")
GIVEN = {
    "supervisor": (*MEMBERS, "accounts.disable_member", "cards.approve_batch"),
    "operator": (*MEMBERS, "orders.check_provisioners"),
    "support": MEMBERS,
    "cashier": (*READ, *MEMBERS, "accounts.top_up"),
    "catalogue": (
        *READ,
        *(f"cards.{verb}_{kind}" for kind in KINDS for verb in ("add", "change")),
        "orders.check_provisioners",
    ),
}


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    for label in ("accounts", "cards", "orders"):
        create_permissions(installed.get_app_config(label), verbosity=0, using=schema_editor.connection.alias, apps=apps)
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, wanted in GIVEN.items():
        group, _created = Group.objects.get_or_create(name=name)
        for dotted in wanted:
            app, codename = dotted.split(".")
            group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


class Migration(migrations.Migration):
    dependencies = [
        ("pickup_portal", "0003_resolve_role"),
        ("accounts", "0004_staff_permissions"),
        ("cards", "0007_catalogue_prices"),
        ("orders", "0007_check_provisioners"),
    ]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
