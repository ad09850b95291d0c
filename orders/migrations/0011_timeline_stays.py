"""Kept by the database: no event leaves an order's timeline, on SQLite neither (see 008 in docs/decisions)."""

from django.db import migrations

STAYS = (
    "CREATE TRIGGER orderevent_stays BEFORE DELETE ON orders_orderevent "
    "BEGIN SELECT RAISE(ABORT, 'rows of orders_orderevent are frozen'); END"
)


def run(schema_editor, statement):
    if schema_editor.connection.vendor == "sqlite":  # PostgreSQL has had it since 0008
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("orders", "0010_order_called_at")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: run(schema_editor, STAYS),
            lambda apps, schema_editor: run(schema_editor, "DROP TRIGGER IF EXISTS orderevent_stays"),
        )
    ]
