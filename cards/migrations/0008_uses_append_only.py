"""Kept by the database: a line of the usage log changes once, when its card is returned (see 008 in docs/decisions)."""

from django.db import migrations

FROZEN = ("card_id", "batch_id", "member_id", "order_number", "used_at")
OLD, NEW = (", ".join(f"{row}.{name}" for name in FROZEN) for row in ("OLD", "NEW"))
POSTGRES = f"""
CREATE TRIGGER carduse_append_only BEFORE UPDATE ON cards_carduse FOR EACH ROW
  WHEN (({OLD}) IS DISTINCT FROM ({NEW}) OR OLD.returned_at IS NOT NULL) EXECUTE FUNCTION portal_refuse_change();
CREATE TRIGGER carduse_stays BEFORE DELETE ON cards_carduse FOR EACH ROW EXECUTE FUNCTION portal_refuse_change();
"""
CHANGED = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in FROZEN)
SQLITE = (
    f"CREATE TRIGGER carduse_append_only BEFORE UPDATE ON cards_carduse WHEN {CHANGED} OR OLD.returned_at IS NOT NULL "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_carduse are frozen'); END"
)


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(POSTGRES if schema_editor.connection.vendor == "postgresql" else SQLITE)


def backwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER carduse_append_only ON cards_carduse")
            cursor.execute("DROP TRIGGER carduse_stays ON cards_carduse")
        else:
            cursor.execute("DROP TRIGGER IF EXISTS carduse_append_only")


class Migration(migrations.Migration):
    dependencies = [("cards", "0007_catalogue_prices")]
    operations = [migrations.RunPython(forwards, backwards)]
