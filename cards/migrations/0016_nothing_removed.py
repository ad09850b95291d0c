"""Kept by the database: nothing is removed from the trail, its chain, the usage log and the replacements (see 008 in
docs/decisions). PostgreSQL has refused it for the first three since they were made, SQLite does so from here on."""

from django.db import migrations

ON_SQLITE = {
    "audit_stays": "cards_auditevent",
    "seal_stays": "cards_auditseal",
    "carduse_stays": "cards_carduse",
    "replacement_stays": "cards_replacement",
}


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(
                "CREATE TRIGGER replacement_stays BEFORE DELETE ON cards_replacement FOR EACH ROW "
                "EXECUTE FUNCTION portal_refuse_change()"
            )
            return
        for name, table in ON_SQLITE.items():
            cursor.execute(
                f"CREATE TRIGGER {name} BEFORE DELETE ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are frozen'); END"
            )


def backwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER replacement_stays ON cards_replacement")
            return
        for name in ON_SQLITE:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


class Migration(migrations.Migration):
    dependencies = [("cards", "0015_list_days")]
    operations = [migrations.RunPython(forwards, backwards)]
