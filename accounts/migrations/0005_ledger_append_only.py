"""Kept by the database: a ledger entry is never changed, and on PostgreSQL never removed (see 008 in docs/decisions)."""

from django.db import migrations

POSTGRES = """
CREATE FUNCTION portal_ledger_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'rows of % are frozen', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON accounts_ledgerentry FOR EACH ROW
  EXECUTE FUNCTION portal_ledger_stays();
"""
POSTGRES_BACK = "DROP TRIGGER ledger_append_only ON accounts_ledgerentry; DROP FUNCTION portal_ledger_stays;"
SQLITE = (
    "CREATE TRIGGER ledger_append_only BEFORE UPDATE ON accounts_ledgerentry "
    "BEGIN SELECT RAISE(ABORT, 'rows of accounts_ledgerentry are frozen'); END"
)


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(POSTGRES if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backwards(apps, schema_editor):
    on_postgres = schema_editor.connection.vendor == "postgresql"
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(POSTGRES_BACK if on_postgres else "DROP TRIGGER IF EXISTS ledger_append_only")


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_staff_permissions")]
    operations = [migrations.RunPython(forwards, backwards)]
