"""Who may invite members: a new permission for a role that is there already."""

from django.db import migrations

from pickup_portal.roles import giving


GIVEN = {"operator": ("accounts.invite_member",)}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0005_card_life_roles"), ("accounts", "0003_invitation")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
