"""The trail's rows as bytes, in a chain that is also a Merkle tree's leaves; checkpoints and anchors.

The old chain is verified first, and a broken one stops the migration. Every row keeps what it says; its hash is made
anew, and a row at the end tells the old head and the new. Not reversible: rows are never rewritten twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from breakglass import clock
from breakglass.domain.audit import GENESIS, AuditTag, Entry, canonical, link
from breakglass.models.audit_event import TABLE, BytesField, HashField
from breakglass.models.audit_triggers import PROTECT

PAGE = 1000
OLD_TRIGGERS = {
    "sqlite": [
        f"DROP TRIGGER IF EXISTS {name}"
        for name in ("audit_no_update", "audit_no_delete", "audit_no_replace")
    ],
    "postgresql": [
        f"DROP TRIGGER IF EXISTS {name} ON {TABLE}" for name in ("audit_no_change", "audit_no_truncate")
    ],
}


def open_up(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Raises RuntimeError where the old chain doesn't hold: what it was must stay as it is, to be looked into."""
    previous, count = GENESIS, 0
    for row in _rows(apps):
        entry = _entry(row)
        old = hashlib.sha256(previous.encode() + b"\n" + canonical(entry)).hexdigest()
        if (row.seq, row.previous_hash, row.hash) != (count + 1, previous, old):
            raise RuntimeError(f"the audit trail is broken at row {count + 1}; nothing was converted")
        previous, count = row.hash, row.seq
    head = apps.get_model("breakglass", "AuditHead").objects.get(id=1)
    if (head.seq, head.hash) != (count, previous):
        raise RuntimeError(f"the head of the audit trail isn't its row {count}; nothing was converted")
    _execute(schema_editor, OLD_TRIGGERS)


def convert(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Fills body, previous and hash of every row, moves the head, and appends the row that says so."""
    previous, count, old_head = GENESIS, 0, ""
    with schema_editor.connection.cursor() as cursor:
        for row in _rows(apps):
            body = canonical(_entry(row))
            digest = link(previous, body)
            cursor.execute(
                f"UPDATE {TABLE} SET body = %s, previous_raw = %s, hash_raw = %s WHERE seq = %s",
                [body, bytes.fromhex(previous), bytes.fromhex(digest), row.seq],
            )
            previous, count, old_head = digest, row.seq, row.hash
        if count:
            entry = _converted(count, old_head, previous)
            body = canonical(entry)
            digest = link(previous, body)
            row = apps.get_model("breakglass", "AuditEvent")(
                seq=entry.seq, at=entry.at, tag=entry.tag, actor=entry.actor, actor_name="", subject=entry.subject,
                data={}, body=body, previous_raw=previous, hash_raw=digest, hash=digest, previous_hash=previous,
            )  # fmt: skip
            row.save(force_insert=True)
            previous, count = digest, entry.seq
    apps.get_model("breakglass", "AuditHead").objects.update(seq=count, hash_raw=previous)


def protect(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _execute(schema_editor, PROTECT)


def _converted(rows: int, old_head: str, new_head: str) -> Entry:
    data = {"rows": rows, "old_head": old_head, "new_head": new_head}
    at: datetime = clock.now()
    return Entry(rows + 1, at, str(AuditTag.TRAIL_CONVERTED), "system:breakglass", "audit:trail", data)


def _rows(apps: StateApps) -> Iterator[Any]:
    """In order, page by page."""
    rows = apps.get_model("breakglass", "AuditEvent").objects.order_by("seq")
    page = list(rows[:PAGE])
    while page:
        yield from page
        page = list(rows.filter(seq__gt=page[-1].seq)[:PAGE])


def _entry(row: Any) -> Entry:
    # As the old chain had it: what JSON gives back of what it was given.
    data = json.loads(json.dumps(row.data))
    return Entry(row.seq, row.at.astimezone(UTC), row.tag, row.actor, row.subject, data, row.actor_name)


def _execute(schema_editor: BaseDatabaseSchemaEditor, statements: Any) -> None:
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement, params=None)


class Migration(migrations.Migration):
    dependencies = (("breakglass", "0003_ways_in_and_more_time"),)
    operations = (
        migrations.RunPython(open_up),
        migrations.AddField("auditevent", "body", BytesField(default=b""), preserve_default=False),
        migrations.AddField(
            "auditevent", "previous_raw", HashField(max_length=32, default=bytes(32)), preserve_default=False
        ),
        migrations.AddField(
            "auditevent", "hash_raw", HashField(max_length=32, default=bytes(32)), preserve_default=False
        ),
        migrations.AddField(
            "audithead", "hash_raw", HashField(max_length=32, default=bytes(32)), preserve_default=False
        ),
        migrations.RunPython(convert),
        migrations.RemoveField("auditevent", "data"),
        migrations.RemoveField("auditevent", "previous_hash"),
        migrations.RemoveField("auditevent", "hash"),
        migrations.RemoveField("audithead", "hash"),
        migrations.RenameField("auditevent", "previous_raw", "previous_hash"),
        migrations.RenameField("auditevent", "hash_raw", "hash"),
        migrations.RenameField("audithead", "hash_raw", "hash"),
        migrations.AlterField("auditevent", "hash", HashField(max_length=32, unique=True)),
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                ("size", models.BigIntegerField(primary_key=True, serialize=False)),
                ("root", HashField(max_length=32)),
                (
                    "edge",
                    BytesField(
                        help_text="the nodes of the tree's right edge, 32 bytes each: the next checkpoint grows from them"
                    ),
                ),
                ("note", models.TextField()),
                ("signed_at", models.DateTimeField()),
            ],
            options={"ordering": ("-size",)},
        ),
        migrations.CreateModel(
            name="AuditAnchor",
            fields=[
                (
                    "name",
                    models.CharField(
                        help_text="its address without any password",
                        max_length=200,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "size",
                    models.BigIntegerField(default=0, help_text="of the newest checkpoint that it took"),
                ),
                ("sent_at", models.DateTimeField(null=True)),
                ("tried_at", models.DateTimeField(null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("failing_since", models.DateTimeField(null=True)),
                ("alarmed_at", models.DateTimeField(null=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.RunPython(protect),
    )
