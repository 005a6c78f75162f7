"""The database's own guard of the trail, on both databases: rows are only added, in order, and the head only follows them.

Whoever owns the tables can take the triggers away. The chain, the notary's checkpoints and the anchors are for that.
"""

from __future__ import annotations

from breakglass.models.audit_event import TABLE

HEAD = "breakglass_audithead"
CHECKPOINT = "breakglass_auditcheckpoint"
INSERT_ONLY = (TABLE, CHECKPOINT)

IN_ORDER = "an audit row follows the head of the trail"
FORWARD = "the head of the trail only moves to the row after it"


def _abort(words: str) -> str:
    return f"BEGIN SELECT RAISE(ABORT, '{words}'); END"


# What must be there, as it is written here: services.audit_guard looks.
SQLITE_TRIGGERS = {
    "audit_no_update": f"BEFORE UPDATE ON {TABLE} {_abort('audit rows are never updated')}",
    "audit_no_delete": f"BEFORE DELETE ON {TABLE} {_abort('audit rows are never deleted')}",
    # INSERT OR REPLACE deletes the row that is in its way without asking the trigger above.
    "audit_no_replace": f"BEFORE INSERT ON {TABLE} "
    f"WHEN EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq OR hash = NEW.hash) "
    f"{_abort('audit rows are never replaced')}",
    "audit_in_order": f"BEFORE INSERT ON {TABLE} "
    f"WHEN NOT EXISTS (SELECT 1 FROM {HEAD} WHERE seq = NEW.seq - 1 AND hash = NEW.previous_hash) "
    f"{_abort(IN_ORDER)}",
    "audit_head_forward": f"BEFORE UPDATE ON {HEAD} WHEN NEW.id <> OLD.id OR NEW.seq <> OLD.seq + 1 "
    f"OR NOT EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq AND hash = NEW.hash) {_abort(FORWARD)}",
    "audit_head_stays": f"BEFORE DELETE ON {HEAD} {_abort('the head of the trail stays')}",
    "audit_one_head_only": f"BEFORE INSERT ON {HEAD} WHEN EXISTS (SELECT 1 FROM {HEAD}) "
    f"{_abort('the trail has one head')}",
    "checkpoint_no_update": f"BEFORE UPDATE ON {CHECKPOINT} {_abort('checkpoints are never updated')}",
    "checkpoint_no_delete": f"BEFORE DELETE ON {CHECKPOINT} {_abort('checkpoints are never deleted')}",
    "checkpoint_no_replace": f"BEFORE INSERT ON {CHECKPOINT} "
    f"WHEN EXISTS (SELECT 1 FROM {CHECKPOINT} WHERE size = NEW.size) "
    f"{_abort('checkpoints are never replaced')}",
}
SQLITE_PROTECT = tuple(f"CREATE TRIGGER {name} {what}" for name, what in SQLITE_TRIGGERS.items())
SQLITE_UNPROTECT = tuple(f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE_TRIGGERS)

# Without a path of its own a function takes the caller's: a temporary table of the trail's name would be asked instead.
_PATH = "SET search_path = pg_catalog, public, pg_temp"
_APPEND_ONLY = (
    f"CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql {_PATH} AS "
    "$$ BEGIN RAISE EXCEPTION 'audit rows are never updated or deleted'; END $$"
)
_ORDER = (
    f"CREATE OR REPLACE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$ BEGIN "
    f"IF NOT EXISTS (SELECT 1 FROM {HEAD} WHERE seq = NEW.seq - 1 AND hash = NEW.previous_hash) "
    f"THEN RAISE EXCEPTION '{IN_ORDER}'; END IF; "
    r"IF NEW.hash <> sha256('\x00'::bytea || NEW.previous_hash || NEW.body) "
    "THEN RAISE EXCEPTION 'the hash of an audit row is that of its body'; END IF; RETURN NEW; END $$"
)
_HEAD = (
    f"CREATE OR REPLACE FUNCTION audit_head_forward() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$ BEGIN "
    f"IF TG_OP = 'INSERT' THEN IF EXISTS (SELECT 1 FROM {HEAD}) "
    "THEN RAISE EXCEPTION 'the trail has one head'; END IF; RETURN NEW; END IF; "
    "IF NEW.id <> OLD.id OR NEW.seq <> OLD.seq + 1 "
    f"OR NOT EXISTS (SELECT 1 FROM {TABLE} WHERE seq = NEW.seq AND hash = NEW.hash) "
    f"THEN RAISE EXCEPTION '{FORWARD}'; END IF; RETURN NEW; END $$"
)
POSTGRESQL_TRIGGERS = {
    **{
        (
            f"{table}_no_change",
            table,
        ): "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
        for table in INSERT_ONLY
    },
    **{
        (
            f"{table}_no_truncate",
            table,
        ): "BEFORE TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
        for table in (*INSERT_ONLY, HEAD)
    },
    ("audit_in_order", TABLE): "BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION audit_in_order()",
    (
        "audit_head_forward",
        HEAD,
    ): "BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION audit_head_forward()",
    ("audit_head_stays", HEAD): "BEFORE DELETE ON {} FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
}
POSTGRESQL_FUNCTIONS = (_APPEND_ONLY, _ORDER, _HEAD)
POSTGRESQL_PROTECT = (
    *POSTGRESQL_FUNCTIONS,
    *(f"CREATE TRIGGER {name} {what.format(table)}" for (name, table), what in POSTGRESQL_TRIGGERS.items()),
)
POSTGRESQL_UNPROTECT = tuple(
    f"DROP TRIGGER IF EXISTS {name} ON {table}" for name, table in POSTGRESQL_TRIGGERS
)

PROTECT = {"sqlite": SQLITE_PROTECT, "postgresql": POSTGRESQL_PROTECT}
UNPROTECT = {"sqlite": SQLITE_UNPROTECT, "postgresql": POSTGRESQL_UNPROTECT}
