"""Transcripts know when each line was shown; what is searched for, and the index of its words, which is each database's own."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

MAKE = {
    "sqlite": (
        # Words come split and in small letters (services/search_words.py): the tokenizer has only the blanks to see.
        'CREATE VIRTUAL TABLE gateway_searchwords USING fts5(words, tags, tokenize = "unicode61 remove_diacritics 0", '
        "prefix = '2 3')",
        "CREATE TRIGGER search_row_gone AFTER DELETE ON gateway_searchrow "
        "BEGIN DELETE FROM gateway_searchwords WHERE rowid = OLD.id; END",
    ),
    "postgresql": (
        "ALTER TABLE gateway_searchrow ADD COLUMN words tsvector",
        "CREATE INDEX gateway_searchrow_words ON gateway_searchrow USING gin (words)",
    ),
}
REMOVE = {
    "sqlite": ("DROP TRIGGER search_row_gone", "DROP TABLE gateway_searchwords"),
    "postgresql": (
        "DROP INDEX gateway_searchrow_words",
        "ALTER TABLE gateway_searchrow DROP COLUMN words",
    ),
}


def make(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in MAKE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def remove(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in REMOVE[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_terminal_ticket")]

    operations = [
        migrations.AddField(
            model_name="transcriptentry",
            name="line_times",
            field=models.JSONField(
                default=list, help_text="when each line of the output began, in seconds of the recording"
            ),
        ),
        migrations.CreateModel(
            name="SearchRow",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=10)),
                (
                    "source",
                    models.BigIntegerField(help_text="the row that it says again, in the table of its kind"),
                ),
                ("at_seconds", models.FloatField(null=True)),
                ("text", models.TextField()),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="gateway.sshsession"
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["kind", "source"], name="search_source")]},
        ),
        migrations.RunPython(make, remove),
    ]
