"""Kept by the database: an order's timeline is only ever added to (see 008 in docs/decisions)."""

from django.db import migrations

POSTGRES = """
CREATE TRIGGER orderevent_append_only BEFORE UPDATE OR DELETE ON orders_orderevent FOR EACH ROW
  EXECUTE FUNCTION portal_refuse_change();
"""
SQLITE = (
    "CREATE TRIGGER orderevent_append_only BEFORE UPDATE ON orders_orderevent "
    "BEGIN SELECT RAISE(ABORT, 'rows of orders_orderevent are frozen'); END"
)


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(POSTGRES if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backwards(apps, schema_editor):
    table = " ON orders_orderevent" if schema_editor.connection.vendor == "postgresql" else ""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER IF EXISTS orderevent_append_only{table}")


class Migration(migrations.Migration):
    dependencies = [("orders", "0007_check_provisioners"), ("cards", "0002_frozen_rows")]
    operations = [migrations.RunPython(forwards, backwards)]
