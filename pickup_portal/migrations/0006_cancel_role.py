"""Who may give up a batch: those who make cards, and the supervisors."""

from django.db import migrations


def give(apps, schema_editor):
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name in ("issuer", "supervisor"):
        group, _created = Group.objects.get_or_create(name=name)
        group.permissions.add(Permission.objects.get(content_type__app_label="cards", codename="cancel_batch"))


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0005_card_life_roles")]
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
