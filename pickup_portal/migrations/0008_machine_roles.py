"""Who keeps the inventory of machines: new permissions for roles that are there already."""

from django.db import migrations

GIVEN = {
    "operator": ("view_machine", "add_machine", "change_machine", "switch_machine"),
    "auditor": ("view_machine",),
}


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(installed.get_app_config("orders"), verbosity=0, using=schema_editor.connection.alias, apps=apps)
    Permission = apps.get_model("auth", "Permission")
    for role, codenames in GIVEN.items():
        group, _created = apps.get_model("auth", "Group").objects.get_or_create(name=role)
        group.permissions.add(
            *Permission.objects.filter(content_type__app_label="orders", codename__in=codenames)
        )


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0007_correction_role"), ("orders", "0013_machines")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
