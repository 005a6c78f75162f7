"""`python -m tests.services.old_trail [BREAK]`: a database as the release before left it, brought up to date.

Run in a process of its own, on an empty database of its own. BREAK is SQL that spoils the old rows first.
"""

from __future__ import annotations

import hashlib
import json
import sys

import django

ROWS = 7
LINK = (
    "INSERT INTO breakglass_auditevent (seq, at, tag, actor, actor_name, subject, data, previous_hash, hash) "
)


def main() -> None:
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    # The data plane's own migrations begin on an earlier state of ours.
    call_command("migrate", "breakglass", "0003", verbosity=0)
    head = "0" * 64
    with connection.cursor() as cursor:
        for seq in range(1, ROWS + 1):
            head = _insert(cursor, seq, head)
        cursor.execute("UPDATE breakglass_audithead SET seq = %s, hash = %s", [ROWS, head])
        for statement in sys.argv[1:]:
            cursor.execute(statement)
    try:
        call_command("migrate", verbosity=0)
    except RuntimeError as problem:
        sys.exit(str(problem))
    from breakglass.models import AuditEvent, AuditHead
    from breakglass.services import audit

    last = AuditEvent.objects.get(seq=ROWS + 1)
    found = audit.verify()
    told = {
        "ok": found.ok,
        "rows": found.rows,
        "tag": last.tag,
        "data": last.data,
        "old_head": head,
        "head": AuditHead.objects.get().hash,
        "last": last.hash,
        "before": last.previous_hash,
        "kept": [row.data for row in AuditEvent.objects.filter(seq__lte=ROWS).order_by("seq")],
    }
    print(json.dumps(told))


def _insert(cursor: object, seq: int, previous: str) -> str:
    """A row as it was written and hashed then."""
    at = f"2026-03-02 12:00:0{seq}" + (".000250" if seq % 2 else "")
    data = {"n": seq, "text": 'ü"\\', "list": [1, {"x": None}], "half": 0.5}
    fields = {
        "seq": seq,
        "at": (at if "." in at else at + ".000000").replace(" ", "T") + "+00:00",
        "tag": "web:login:failed",
        "actor": "stranger:rita",
        "actor_name": "",
        "subject": f"web:{seq}",
        "data": data,
    }
    body = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(previous.encode() + b"\n" + body.encode()).hexdigest()
    values = [
        seq,
        at,
        fields["tag"],
        fields["actor"],
        "",
        fields["subject"],
        json.dumps(data),
        previous,
        digest,
    ]
    cursor.execute(LINK + "VALUES (" + ", ".join(["%s"] * len(values)) + ")", values)  # type: ignore[attr-defined]
    return digest


if __name__ == "__main__":
    main()
