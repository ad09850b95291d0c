"""Who may invite members: a new permission for a role that is there already."""

from django.db import migrations


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(
        installed.get_app_config("accounts"), verbosity=0, using=schema_editor.connection.alias, apps=apps
    )
    group, _created = apps.get_model("auth", "Group").objects.get_or_create(name="operator")
    Permission = apps.get_model("auth", "Permission")
    group.permissions.add(Permission.objects.get(content_type__app_label="accounts", codename="invite_member"))


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0005_card_life_roles"), ("accounts", "0003_invitation")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
