"""Who may stop the generating of a batch, and who may replace a card."""

from django.db import migrations

GIVEN = {
    "issuer": ("cards.cancel_batch",),
    "supervisor": ("cards.cancel_batch", "cards.replace_card"),
}


def give(apps, schema_editor):
    from django.apps import apps as installed
    from django.contrib.auth.management import create_permissions

    create_permissions(installed.get_app_config("cards"), verbosity=0, using=schema_editor.connection.alias, apps=apps)
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, wanted in GIVEN.items():
        group, _created = Group.objects.get_or_create(name=name)
        for dotted in wanted:
            app, codename = dotted.split(".")
            group.permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0004_more_roles"), ("cards", "0004_card_life")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
