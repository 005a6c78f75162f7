"""As a role of its own the product can do its work, and can't change a row of the trail whatever it tries."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from breakglass.domain.audit import AuditTag
from breakglass.models import AuditCheckpoint
from breakglass.services import audit, audit_guard, audit_role
from breakglass.services.audit_role import Part
from tests.services.test_notary import SIGNER, execute, rows
from tests.support.clock import NOON

pytestmark = pytest.mark.django_db
ROLE = "breakglass_app"


@pytest.fixture
def role() -> str:
    """On PostgreSQL: a role that isn't the owner of the tables. It goes with the test's transaction."""
    if connection.vendor == "postgresql":
        execute(f"CREATE ROLE {ROLE} LOGIN")
    return ROLE


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """As if connected by that role; the owner again afterwards."""
    execute(f"SET ROLE {role}")
    yield
    execute("RESET ROLE")


def refused(statement: str) -> bool:
    try:
        with transaction.atomic():
            execute(statement)
    except DatabaseError as error:
        return "permission denied" in str(error) or "must be owner" in str(error)
    return False


FORBIDDEN = [
    "UPDATE breakglass_auditevent SET subject = 'x'",
    "DELETE FROM breakglass_auditevent",
    "TRUNCATE breakglass_auditevent",
    "DROP TABLE breakglass_auditevent",
    "ALTER TABLE breakglass_auditevent DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_in_order ON breakglass_auditevent",
    "CREATE TRIGGER x BEFORE INSERT ON breakglass_auditevent FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
    "SET session_replication_role = replica",
    "DELETE FROM breakglass_audithead",
    "TRUNCATE breakglass_audithead",
    "UPDATE breakglass_auditcheckpoint SET note = 'x'",
    "DELETE FROM breakglass_auditcheckpoint",
    "INSERT INTO breakglass_auditcheckpoint (size, root, edge, note, signed_at) VALUES (1, '', '', '', now())",
    "CREATE OR REPLACE FUNCTION audit_in_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
]


def test_the_application_adds_rows_and_can_change_none(role: str) -> None:
    if connection.vendor != "postgresql":
        with pytest.raises(CommandError, match="SQLite has no roles"):
            call_command("audit_role", role)
        return
    call_command("audit_role", role, "--apply", stdout=io.StringIO())
    rows(2)
    with acting_as(role):
        rows(2)
        assert audit.verify().rows == 4
        allowed = [statement for statement in FORBIDDEN if not refused(statement)]
        assert allowed == []
        # What it may do to the head is what the trigger lets it: nothing but the next row.
        with pytest.raises(DatabaseError, match="only moves to the row after it"), transaction.atomic():
            execute("UPDATE breakglass_audithead SET seq = 1")
        assert not any("could drop" in text or "may change" in text for text in audit_guard.warnings())
    assert any("owns the trail" in text for text in audit_guard.warnings())
    assert audit_role.shortcomings(role) == []


SHADOWS = [
    (
        "CREATE TEMP TABLE breakglass_audithead AS SELECT 1 AS id, 98::bigint AS seq, '\\x01'::bytea AS hash",
        "INSERT INTO public.breakglass_auditevent SELECT 99, at, tag, actor, actor_name, subject, body, '\\x01', "
        "sha256('\\x0001'::bytea || body) FROM public.breakglass_auditevent WHERE seq = 1",
    ),
    (
        "CREATE TEMP TABLE breakglass_auditevent AS SELECT seq + 1 AS seq, '\\x07'::bytea AS hash FROM breakglass_audithead",
        "UPDATE public.breakglass_audithead SET seq = seq + 1, hash = '\\x07'",
    ),
]


@pytest.mark.parametrize(("shadow", "statement"), SHADOWS, ids=["a row out of its turn", "the head moved"])
def test_a_temporary_table_of_the_trails_name_deceives_no_trigger(
    role: str, shadow: str, statement: str
) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite's triggers know no other tables than their own
    rows(3)
    audit_role.apply(role, Part.APPLICATION)
    with (
        acting_as(role),
        pytest.raises(DatabaseError, match=r"follows the head|only moves to"),
        transaction.atomic(),
    ):
        execute(shadow)
        execute(statement)


def test_the_notary_signs_and_can_change_nothing(role: str) -> None:
    if connection.vendor != "postgresql":
        return
    audit_role.apply(role, Part.NOTARY)
    with acting_as(role):
        with transaction.atomic():
            audit.append(
                AuditTag.NOTARY_STARTED, actor=None, subject="x", now=NOON, data={"key": str(SIGNER.key)}
            )
        AuditCheckpoint(size=1, root="00" * 32, edge=bytes(32), note="x", signed_at=NOON).save()
        statements = [statement for statement in FORBIDDEN if not statement.startswith("INSERT")]
        assert [statement for statement in statements if not refused(statement)] == []
        assert refused("UPDATE breakglass_grant SET state = 'active'")


def test_a_role_that_could_change_the_trail_is_told(role: str) -> None:
    if connection.vendor != "postgresql":
        return
    audit_role.apply(role, Part.APPLICATION)
    execute(f"GRANT UPDATE ON breakglass_auditevent TO {role}")
    assert audit_role.shortcomings(role) == ["it may change or remove rows of breakglass_auditevent"]
    said = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("audit_role", role, "--check", stderr=said)
    assert "may change or remove rows" in said.getvalue()
    assert audit_role.shortcomings("breakglass") == ["it is a superuser"]
    assert audit_role.shortcomings("nobody-there") == ["there is no such role"]
