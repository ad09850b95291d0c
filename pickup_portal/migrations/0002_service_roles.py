"""Who may suspend and who may terminate a service: new permissions for the roles that are there already."""

from django.db import migrations

GIVEN = {
    "operator": ("orders.suspend_service",),
    "supervisor": ("orders.terminate_service",),
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
    dependencies = [("pickup_portal", "0001_staff_roles"), ("orders", "0003_service_lifecycle")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
