"""The audit chain's one head row, and the triggers that refuse to change its rows."""

from __future__ import annotations

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from breakglass.domain.audit import GENESIS
from breakglass.models.audit_event import PROTECT, UNPROTECT


def protect(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("breakglass", "AuditHead").objects.get_or_create(
        id=1, defaults={"seq": 0, "hash": GENESIS}
    )
    for statement in PROTECT[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


def unprotect(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in UNPROTECT[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = (("breakglass", "0001_initial"),)
    operations = (migrations.RunPython(protect, unprotect),)
