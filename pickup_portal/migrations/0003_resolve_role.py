"""Who may close an order or enter what was opened by hand: a new permission for the roles that are there already."""

from django.db import migrations

from pickup_portal.roles import giving

GIVEN = {
    "operator": ("orders.resolve_order",),
}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0002_service_roles"), ("orders", "0005_tombstones")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
