"""Who may close an order or enter what was opened by hand: a new permission for the roles that are there already."""

from django.db import migrations

GIVEN = {
    "operator": ("orders.resolve_order",),
}


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(
        installed.get_app_config("orders"), verbosity=0, using=schema_editor.connection.alias, apps=apps
    )
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, wanted in GIVEN.items():
        group, _created = Group.objects.get_or_create(name=name)
        for dotted in wanted:
            app, codename = dotted.split(".")
            group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0002_service_roles"), ("orders", "0005_tombstones")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
