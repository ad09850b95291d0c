"""Make a group per staff role. Permissions are created here too, since post_migrate has not run on a new database."""

from django.db import migrations

from pickup_portal.roles import ROLES


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
