"""Kept by the database: a batch's configuration is frozen, and the audit trail is append-only.

On PostgreSQL the cards table also keeps room on each page, so that using a card rewrites no index (HOT update).
"""

from django.db import migrations

FROZEN = ("product_type", "line_id", "spec", "term_months", "reference_price", "windows_policy", "windows_surcharge", "request_token")

POSTGRES = f"""
CREATE FUNCTION portal_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'rows of % are frozen', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;
CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch FOR EACH ROW
  WHEN (({", ".join("OLD." + name for name in FROZEN)}) IS DISTINCT FROM ({", ".join("NEW." + name for name in FROZEN)}))
  EXECUTE FUNCTION portal_refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON cards_auditevent FOR EACH ROW EXECUTE FUNCTION portal_refuse_change();
ALTER TABLE cards_card SET (fillfactor = 90);
"""
POSTGRES_BACK = """
DROP TRIGGER batch_frozen ON cards_batch;
DROP TRIGGER audit_append_only ON cards_auditevent;
DROP FUNCTION portal_refuse_change;
"""
CHANGED = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in FROZEN)
SQLITE = [
    f"CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch WHEN {CHANGED} "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_batch are frozen'); END",
    "CREATE TRIGGER audit_append_only BEFORE UPDATE ON cards_auditevent "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_auditevent are frozen'); END",
]


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(POSTGRES)
        else:
            for statement in SQLITE:
                cursor.execute(statement)


def backwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(POSTGRES_BACK)
        else:
            cursor.execute("DROP TRIGGER batch_frozen")
            cursor.execute("DROP TRIGGER audit_append_only")


class Migration(migrations.Migration):
    dependencies = [("cards", "0001_initial")]
    operations = [migrations.RunPython(forwards, backwards)]
