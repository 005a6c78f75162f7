"""The triggers' functions on PostgreSQL look for the trail's tables where they are, whatever the caller's search path."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from breakglass.models.audit_triggers import POSTGRESQL_FUNCTIONS


def replace(_: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        for statement in POSTGRESQL_FUNCTIONS:
            schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = (("breakglass", "0005_audit_stream"),)
    operations = (migrations.RunPython(replace, migrations.RunPython.noop),)
