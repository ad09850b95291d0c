"""A card's life: imported codes, batches given up or added to, cards replaced, cards found by their last four.

Kept by the database besides: how hard its codes are to guess is frozen with the batch, a batch given up stays so, and
a card that was replaced is disabled for ever. The batch's trigger is made anew at the end (see 0003).
"""

from importlib import import_module

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

before = import_module("cards.migrations.0003_validity_and_currency")
FROZEN = (*before.FROZEN, "code_bits")
OLD, NEW = (", ".join(f"{row}.{name}" for name in FROZEN) for row in ("OLD", "NEW"))
POSTGRES = f"""
DROP TRIGGER batch_frozen ON cards_batch;
CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch FOR EACH ROW
  WHEN (({OLD}) IS DISTINCT FROM ({NEW}) OR (OLD.status = 'cancelled' AND NEW.status <> 'cancelled'))
  EXECUTE FUNCTION portal_refuse_change();
CREATE TRIGGER replacement_frozen BEFORE UPDATE ON cards_replacement FOR EACH ROW EXECUTE FUNCTION portal_refuse_change();
CREATE FUNCTION portal_replaced_stays_disabled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM cards_replacement WHERE old_id = OLD.id) THEN
    RAISE EXCEPTION 'a replaced card stays disabled' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER card_replaced_stays BEFORE UPDATE ON cards_card FOR EACH ROW
  WHEN (OLD.status = 'disabled' AND NEW.status <> 'disabled') EXECUTE FUNCTION portal_replaced_stays_disabled();
CREATE FUNCTION portal_replaced_is_disabled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM cards_card WHERE id = NEW.old_id AND status = 'disabled') THEN
    RAISE EXCEPTION 'only a disabled card is replaced' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER replacement_of_disabled BEFORE INSERT ON cards_replacement FOR EACH ROW
  EXECUTE FUNCTION portal_replaced_is_disabled();
"""
POSTGRES_BACK = """
DROP TRIGGER replacement_of_disabled ON cards_replacement;
DROP TRIGGER replacement_frozen ON cards_replacement;
DROP TRIGGER card_replaced_stays ON cards_card;
DROP FUNCTION portal_replaced_is_disabled;
DROP FUNCTION portal_replaced_stays_disabled;
"""
CHANGED = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in FROZEN)
SQLITE = [
    "DROP TRIGGER IF EXISTS batch_frozen",
    f"CREATE TRIGGER batch_frozen BEFORE UPDATE ON cards_batch WHEN {CHANGED} "
    "OR (OLD.status = 'cancelled' AND NEW.status <> 'cancelled') "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_batch are frozen'); END",
    "CREATE TRIGGER replacement_frozen BEFORE UPDATE ON cards_replacement "
    "BEGIN SELECT RAISE(ABORT, 'rows of cards_replacement are frozen'); END",
    "CREATE TRIGGER card_replaced_stays BEFORE UPDATE ON cards_card "
    "WHEN OLD.status = 'disabled' AND NEW.status <> 'disabled' "
    "AND EXISTS (SELECT 1 FROM cards_replacement WHERE old_id = OLD.id) "
    "BEGIN SELECT RAISE(ABORT, 'a replaced card stays disabled'); END",
    "CREATE TRIGGER replacement_of_disabled BEFORE INSERT ON cards_replacement "
    "WHEN NOT EXISTS (SELECT 1 FROM cards_card WHERE id = NEW.old_id AND status = 'disabled') "
    "BEGIN SELECT RAISE(ABORT, 'only a disabled card is replaced'); END",
]
SQLITE_BACK = ["replacement_of_disabled", "replacement_frozen", "card_replaced_stays"]


def forwards(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for statement in [POSTGRES] if schema_editor.connection.vendor == "postgresql" else SQLITE:
            cursor.execute(statement)


def backwards(apps, schema_editor):
    before.freeze(apps, schema_editor)
    with schema_editor.connection.cursor() as cursor:
        if schema_editor.connection.vendor == "postgresql":
            cursor.execute(POSTGRES_BACK)
            return
        for name in SQLITE_BACK:
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


class Migration(migrations.Migration):

    dependencies = [
        ('cards', '0003_validity_and_currency'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, before.freeze),
        migrations.CreateModel(
            name='CodeForm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('length', models.PositiveSmallIntegerField()),
                ('symbols', models.CharField(max_length=128)),
            ],
        ),
        migrations.CreateModel(
            name='Replacement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='time')),
            ],
            options={
                'verbose_name': 'replacement',
                'verbose_name_plural': 'replacements',
            },
        ),
        migrations.AlterModelOptions(
            name='batch',
            options={'ordering': ['-id'], 'permissions': [('download_batch', 'Can download the codes of a batch'), ('disable_batch', 'Can disable and enable batches and cards'), ('extend_batch', 'Can extend the validity of a batch'), ('cancel_batch', 'Can stop the generating of a batch')], 'verbose_name': 'batch', 'verbose_name_plural': 'batches'},
        ),
        migrations.AlterModelOptions(
            name='card',
            options={'permissions': [('reveal_card', "Can see a card's code in full"), ('replace_card', 'Can replace a card by a new code')], 'verbose_name': 'pickup card', 'verbose_name_plural': 'pickup cards'},
        ),
        migrations.RemoveConstraint(
            model_name='batch',
            name='batch_ready_is_whole',
        ),
        migrations.AddField(
            model_name='batch',
            name='code_bits',
            field=models.PositiveSmallIntegerField(default=120, editable=False),
        ),
        migrations.AddField(
            model_name='batch',
            name='issued',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='batch',
            name='replaced',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.RunSQL("UPDATE cards_batch SET issued = quantity WHERE status = 'ready'", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='auditevent',
            name='action',
            field=models.CharField(choices=[('create_batch', 'Batch created'), ('import_batch', 'Batch imported'), ('cancel_batch', 'Generating cancelled'), ('add_cards', 'Cards added'), ('download', 'Codes downloaded'), ('reveal', 'Code revealed'), ('disable_batch', 'Batch disabled'), ('enable_batch', 'Batch enabled'), ('disable_card', 'Card disabled'), ('enable_card', 'Card enabled'), ('disable_cards', 'Cards disabled by list'), ('replace_card', 'Card replaced'), ('extend_batch', 'Validity extended'), ('redeem', 'Card redeemed'), ('return_card', 'Card returned'), ('fix_order', 'Order changed by staff')], max_length=32, verbose_name='action'),
        ),
        migrations.AlterField(
            model_name='batch',
            name='status',
            field=models.CharField(choices=[('generating', 'Generating'), ('ready', 'Ready'), ('cancelled', 'Cancelled')], default='generating', max_length=16, verbose_name='status'),
        ),
        migrations.AddIndex(
            model_name='card',
            index=models.Index(fields=['last4'], name='card_last4'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'ready'), _negated=True), models.Q(('generated', models.F('quantity')), ('issued', models.F('quantity'))), _connector='OR'), name='batch_ready_is_whole'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('issued__lte', models.F('generated'))), name='batch_issued'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('replaced__lt', models.F('quantity'))), name='batch_replaced'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('code_bits__gte', 40)), name='batch_code_bits'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['generating', 'ready', 'cancelled'])), name='batch_status_known'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'cancelled'), _negated=True), ('issued', 0), _connector='OR'), name='batch_cancelled_never_issued'),
        ),
        migrations.AddConstraint(
            model_name='codeform',
            constraint=models.UniqueConstraint(fields=('length', 'symbols'), name='codeform_unique'),
        ),
        migrations.AddField(
            model_name='replacement',
            name='new',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='replaces', to='cards.card'),
        ),
        migrations.AddField(
            model_name='replacement',
            name='old',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='cards.card'),
        ),
        migrations.AddConstraint(
            model_name='replacement',
            constraint=models.CheckConstraint(condition=models.Q(('old', models.F('new')), _negated=True), name='replacement_is_another_card'),
        ),
        migrations.RunPython(forwards, backwards),
    ]
