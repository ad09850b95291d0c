"""Kept by the database: a ledger entry is never removed, on SQLite neither (see 008 in docs/decisions)."""

from django.db import migrations

STAYS = (
    "CREATE TRIGGER ledger_stays BEFORE DELETE ON accounts_ledgerentry "
    "BEGIN SELECT RAISE(ABORT, 'rows of accounts_ledgerentry are frozen'); END"
)


def run(schema_editor, statement):
    if schema_editor.connection.vendor == "sqlite":  # PostgreSQL has had it since 0005
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_ledger_append_only")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: run(schema_editor, STAYS),
            lambda apps, schema_editor: run(schema_editor, "DROP TRIGGER IF EXISTS ledger_stays"),
        )
    ]
