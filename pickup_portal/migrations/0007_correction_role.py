"""Who may take a mistaken top-up back: another role than the one that tops up."""

from django.db import migrations


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(
        installed.get_app_config("accounts"), verbosity=0, using=schema_editor.connection.alias, apps=apps
    )
    group, _created = apps.get_model("auth", "Group").objects.get_or_create(name="supervisor")
    Permission = apps.get_model("auth", "Permission")
    group.permissions.add(Permission.objects.get(content_type__app_label="accounts", codename="correct_top_up"))


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0006_invite_role"), ("accounts", "0007_correction")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
