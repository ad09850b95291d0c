"""Who may suspend and who may terminate a service: new permissions for the roles that are there already."""

from django.db import migrations

from pickup_portal.roles import giving

GIVEN = {
    "operator": ("orders.suspend_service",),
    "supervisor": ("orders.terminate_service",),
}


class Migration(migrations.Migration):
    dependencies = [("pickup_portal", "0001_staff_roles"), ("orders", "0003_service_lifecycle")]
    operations = [migrations.RunPython(giving(GIVEN), migrations.RunPython.noop)]
