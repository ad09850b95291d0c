"""The two-person rule: who asked, who approved, and that no card is made before. SQLite makes the table anew for it, so
the trigger that freezes a batch is made anew too (see 0004)."""

from importlib import import_module

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


before = import_module("cards.migrations.0004_card_life")
FREEZE = before.SQLITE[1]


def freeze(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER IF EXISTS batch_frozen")
            cursor.execute(FREEZE)


class Migration(migrations.Migration):

    dependencies = [
        ("cards", "0009_refused_tries"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, freeze),
        migrations.RemoveConstraint(
            model_name='batch',
            name='batch_status_known',
        ),
        migrations.AddField(
            model_name='batch',
            name='approved_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='batch',
            name='approved_by',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='batch',
            name='asked_by',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='batch',
            name='needs_approval',
            field=models.BooleanField(default=False, editable=False),
        ),
        migrations.AlterField(
            model_name='auditevent',
            name='action',
            field=models.CharField(choices=[('create_batch', 'Batch created'), ('import_batch', 'Batch imported'), ('approve_batch', 'Batch approved'), ('cancel_batch', 'Generating cancelled'), ('add_cards', 'Cards added'), ('download', 'Codes downloaded'), ('reveal', 'Code revealed'), ('disable_batch', 'Batch disabled'), ('enable_batch', 'Batch enabled'), ('disable_card', 'Card disabled'), ('enable_card', 'Card enabled'), ('disable_cards', 'Cards disabled by list'), ('replace_card', 'Card replaced'), ('extend_batch', 'Validity extended'), ('redeem', 'Card redeemed'), ('return_card', 'Card returned'), ('fix_order', 'Order changed by staff'), ('change_catalogue', 'Catalogue changed')], max_length=32, verbose_name='action'),
        ),
        migrations.AlterField(
            model_name='batch',
            name='status',
            field=models.CharField(choices=[('waiting', 'Waiting for approval'), ('generating', 'Generating'), ('ready', 'Ready'), ('cancelled', 'Cancelled')], default='generating', max_length=16, verbose_name='status'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['waiting', 'generating', 'ready', 'cancelled'])), name='batch_status_known'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('needs_approval', False), ('status__in', ['waiting', 'cancelled']), ('approved_by__isnull', False), _connector='OR'), name='batch_approved_before_made'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('status', 'waiting'), _negated=True), models.Q(('generated', models.F('issued')), ('needs_approval', True)), _connector='OR'), name='batch_waiting_makes_nothing'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('approved_at__isnull', True), ('approved_by__isnull', True)), models.Q(('approved_at__isnull', False), ('approved_by__isnull', False)), _connector='OR'), name='batch_approved_when'),
        ),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.CheckConstraint(condition=models.Q(('approved_by__isnull', True), models.Q(models.Q(('created_by__isnull', True), models.Q(('approved_by', models.F('created_by')), _negated=True), _connector='OR'), models.Q(('asked_by__isnull', True), models.Q(('approved_by', models.F('asked_by')), _negated=True), _connector='OR')), _connector='OR'), name='batch_approved_by_another'),
        ),
        migrations.RunPython(freeze, migrations.RunPython.noop),
    ]
