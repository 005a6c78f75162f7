"""The trail: rows are only appended, together with what they tell of, and whatever is done to them shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breakglass.domain.audit import GENESIS, AuditTag, Entry, canonical, link
from breakglass.domain.refusals import RefusalCode, refuse
from breakglass.models import AuditEvent, AuditHead
from breakglass.models.audit_event import AppendOnly
from breakglass.models.audit_triggers import PROTECT, UNPROTECT
from breakglass.services import audit, audit_pages
from tests.support.cast import Cast
from tests.support.clock import NOON

pytestmark = pytest.mark.django_db


def _append(count: int = 1, now: datetime = NOON, **data: Any) -> AuditEvent:
    for number in range(count):
        with transaction.atomic():
            row = audit.append(
                AuditTag.LOGIN_FAILED,
                actor="rita",
                subject=f"web:{number}",
                now=now,
                data={"n": number, **data},
            )
    return row


@contextmanager
def _unprotected() -> Iterator[None]:
    """As somebody who owns the database: the triggers are out of the way."""
    _execute(*UNPROTECT[connection.vendor])
    yield
    _execute(*PROTECT[connection.vendor])


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _tamper(*statements: str) -> None:
    with _unprotected():
        _execute(*statements)


# --- appending


def test_each_row_is_chained_to_the_one_before() -> None:
    _append(3)
    rows = list(AuditEvent.objects.order_by("seq"))
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [row.previous_hash for row in rows] == [GENESIS, rows[0].hash, rows[1].hash]
    head = AuditHead.objects.get()
    assert (head.seq, head.hash) == (3, rows[2].hash)
    assert audit.verify() == audit.VerifyResult(3, rows[2].hash)


def test_an_empty_trail_is_whole() -> None:
    assert audit.verify().ok


@pytest.mark.django_db(transaction=True)
def test_a_row_outside_a_transaction_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        audit.append(AuditTag.LOGOUT, actor=None, subject="x", now=NOON)


def test_a_change_that_fails_leaves_no_row_and_no_gap() -> None:
    _append()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.append(AuditTag.LOGOUT, actor=None, subject="x", now=NOON)
        raise ZeroDivisionError
    assert _append().seq == 2
    assert audit.verify().ok


def test_a_refusal_is_kept_with_its_code_and_its_words() -> None:
    no = refuse(RefusalCode.OWN_REQUEST, who="ot-leads")
    audit.record_refusal(AuditTag.APPROVAL_REFUSED, no, actor=None, subject="x", now=NOON, verdict="approved")
    assert AuditEvent.objects.get().data == {
        "refusal": "own_request",
        "message": "Nobody decides on their own request.",
        "verdict": "approved",
    }


def test_the_name_of_the_actor_is_kept_as_it_was_then(cast: Cast) -> None:
    with transaction.atomic():
        row = audit.append(AuditTag.LOGOUT, actor=cast.rita, subject=cast.rita, now=NOON)
    cast.rita.username = "rita-new"
    cast.rita.save()
    row.refresh_from_db()
    assert (row.actor, row.actor_name) == (f"person:{cast.rita.pk}", "rita")


@pytest.mark.parametrize(
    "claim", ["rita", "stranger:rita", "\x1b[2J", "hunter2 hunter2", "x" * 500, "\x00\ud800", ""]
)
def test_a_strangers_claim_is_tamed(claim: str) -> None:
    with transaction.atomic():
        row = audit.append(AuditTag.LOGIN_FAILED, actor=claim, subject=claim, now=NOON)
    assert row.actor.startswith("stranger:")
    assert row.actor.count("stranger:") == 1
    assert row.actor.isascii()
    assert row.actor.isprintable()
    assert len(row.actor) <= 64
    assert audit.verify().ok


def test_times_are_kept_in_utc_to_the_microsecond() -> None:
    now = datetime(2026, 3, 2, 17, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with transaction.atomic():
        audit.append(
            AuditTag.LOGOUT, actor=None, subject="x", now=now, data={"at": now, "left": timedelta(minutes=1)}
        )
    row = AuditEvent.objects.get()
    assert row.at == datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
    assert row.data == {"at": "2026-03-02T12:00:00.123456+00:00", "left": 60}
    assert audit.verify().ok


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(st.characters(), max_size=10), values, max_size=4))
def test_whatever_is_told_reads_back_with_the_same_hash(data: dict[str, Any]) -> None:
    """What JSON or a database can't hold (NaN, NUL, lone surrogates) is said in another way, not refused."""
    with transaction.atomic():
        audit.append(AuditTag.LOGOUT, actor=None, subject="x", now=NOON, data=data)
    assert audit.verify().ok


@pytest.mark.parametrize("value", [1e22, -0.0, 1e-7, 0.1, 1e300, float("nan"), float("-inf"), 2**80, 10.0])
def test_numbers_read_back_with_the_same_hash(value: float) -> None:
    _append(n=value)
    assert audit.verify().ok


# --- nobody changes rows


def test_the_models_refuse_to_change_rows() -> None:
    row = _append()
    row.tag = "x"
    with pytest.raises(AppendOnly):
        row.save()
    with pytest.raises(AppendOnly):
        row.delete()
    with pytest.raises(AppendOnly):
        AuditEvent.objects.update(tag="x")
    with pytest.raises(AppendOnly):
        AuditEvent.objects.all().delete()


REFUSED = [
    "UPDATE breakglass_auditevent SET tag = 'x' WHERE seq = 2",
    "UPDATE breakglass_auditevent SET seq = 99 WHERE seq = 2",
    "DELETE FROM breakglass_auditevent WHERE seq = 2",
    "DELETE FROM breakglass_auditevent",
]
SAME = "seq, at, tag, actor, actor_name, subject, body, previous_hash, hash"
OF_SQLITE = [
    f"INSERT OR REPLACE INTO breakglass_auditevent ({SAME}) SELECT seq, at, 'x', actor, actor_name, subject, "
    "body, previous_hash, hash FROM breakglass_auditevent WHERE seq = 2",
    f"INSERT OR REPLACE INTO breakglass_auditevent ({SAME}) SELECT 99, at, 'x', actor, actor_name, subject, "
    "body, previous_hash, hash FROM breakglass_auditevent WHERE seq = 2",
    "UPDATE OR REPLACE breakglass_auditevent SET seq = 1 WHERE seq = 2",
]
OF_POSTGRESQL = [
    "TRUNCATE breakglass_auditevent",
    "TRUNCATE breakglass_auditevent CASCADE",
    f"INSERT INTO breakglass_auditevent ({SAME}) SELECT {SAME} FROM breakglass_auditevent "
    "ON CONFLICT (seq) DO UPDATE SET tag = 'x'",
]


@pytest.mark.parametrize("number", range(len(REFUSED) + 3))
def test_the_database_refuses_to_change_rows(number: int) -> None:
    own = OF_SQLITE if connection.vendor == "sqlite" else OF_POSTGRESQL
    statement = [*REFUSED, *own][number]
    _append(3)
    with pytest.raises(DatabaseError), transaction.atomic():
        _execute(statement)
    assert audit.verify().rows == 3
    assert audit.verify().ok


# --- whatever is done to rows behind our back, the first broken one is named


def _blob(raw: bytes) -> str:
    """A literal of both databases."""
    return f"X'{raw.hex()}'" if connection.vendor == "sqlite" else f"'\\x{raw.hex()}'"


def _told(row: AuditEvent, **changed: Any) -> bytes:
    """The body of that row, had it told something else."""
    entry = Entry(row.seq, row.at, row.tag, row.actor, row.subject, row.data, row.actor_name)
    return canonical(replace(entry, **changed))


COLUMNS: dict[str, str | bytes] = {
    "at": "2020-01-01 00:00:00",
    "tag": "x",
    "actor": "person:1",
    "actor_name": "ada",
    "subject": "x",
    "body": b'{"actor":"stranger:rita"}',
    "hash": b"\xff" * 32,
    "previous_hash": b"\xff" * 32,
}


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_row_is_named(column: str) -> None:
    """Also where only a column was changed, by which rows are found, and not the bytes that were hashed."""
    _append(5)
    value = COLUMNS[column]
    literal = _blob(value) if isinstance(value, bytes) else f"'{value}'"
    _tamper(f"UPDATE breakglass_auditevent SET {column} = {literal} WHERE seq = 3")
    result = audit.verify()
    assert (result.broken_seq, result.rows) == (3, 2)
    assert "row 3" in result.problem


FRACTION = NOON + timedelta(microseconds=123456)


def test_a_page_that_holds_is_judged_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _append(5, now=FRACTION)
    monkeypatch.setattr(audit_pages, "_one_by_one", lambda *_: pytest.fail("row by row"))
    assert audit.verify().ok


OF_A_PAGE = {
    **COLUMNS,
    "at": "2026-03-02 12:00:00",
    "subject": "web:",
    "actor": "",
    "tag": "auth:login:faile",
}


@pytest.mark.parametrize("column", OF_A_PAGE)
def test_a_changed_row_is_named_within_a_page_judged_all_at_once(column: str) -> None:
    _append(5, now=FRACTION)
    value = OF_A_PAGE[column]
    literal = _blob(value) if isinstance(value, bytes) else f"'{value}'"
    _tamper(f"UPDATE breakglass_auditevent SET {column} = {literal} WHERE seq = 3")
    assert audit.verify().broken_seq == 3


@pytest.mark.parametrize("column", ["actor", "actor_name", "subject", "tag"])
def test_a_column_of_the_right_bytes_and_another_type_is_named(column: str) -> None:
    """SQLite keeps it as it is given, and then nobody finds the row by that column any more."""
    if connection.vendor != "sqlite":
        return
    _append(3, now=FRACTION)
    _tamper(f"UPDATE breakglass_auditevent SET {column} = CAST({column} AS BLOB) WHERE seq = 2")
    assert audit.verify().broken_seq == 2


def test_what_is_in_a_body_does_not_pass_for_the_end_of_its_time() -> None:
    if connection.vendor != "sqlite":
        return
    inner = {"k": "+00:00", "kk": {"a": '","data":{'}}
    row = _append(1, now=FRACTION, **inner)
    at = row.body.decode().partition('"at":"')[2]
    for end in range(20, len(at)):
        text = at[:end].replace("'", "''").replace("T", " ", 1)
        _tamper(f"UPDATE breakglass_auditevent SET at = '{text}' WHERE seq = 1")
        assert audit.verify().ok == (end == 26)


@pytest.mark.parametrize(
    "subject", ['a"b', "a\\", '","tag":"x', "\x01\x1f\x7f\n", "ü\U0001f512\ud800", "'%s{}"]
)
def test_columns_are_compared_whatever_they_hold(subject: str) -> None:
    """The database quotes JSON as Python does; and no text in a body passes for a column."""
    with transaction.atomic():
        row = audit.append(AuditTag.LOGOUT, actor=None, subject=subject, now=NOON, data={subject: subject})
    assert audit.verify().ok
    cut = row.subject[:-1].replace("'", "''").replace("%", "%%")
    _tamper(f"UPDATE breakglass_auditevent SET subject = '{cut}' WHERE seq = 1".replace("%%", "%"))
    assert audit.verify().broken_seq == 1


def _forge(seq: int) -> None:
    """Another subject, in the column and in the body, with a hash that fits."""
    row = AuditEvent.objects.get(seq=seq)
    body = _told(row, subject="forged")
    _tamper(
        f"UPDATE breakglass_auditevent SET subject = 'forged', body = {_blob(body)}, "
        f"hash = {_blob(bytes.fromhex(link(row.previous_hash, body)))} WHERE seq = {seq}"
    )


def test_a_changed_row_with_its_hash_made_anew_shows_in_the_next() -> None:
    _append(5)
    _forge(3)
    assert audit.verify().broken_seq == 4


def test_a_changed_last_row_with_its_hash_made_anew_shows_in_the_head() -> None:
    _append(3)
    _forge(3)
    assert audit.verify().broken_seq == 3
    assert "head" in audit.verify().problem


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_deleted_row_is_named(seq: int) -> None:
    _append(5)
    _tamper(f"DELETE FROM breakglass_auditevent WHERE seq = {seq}")
    result = audit.verify()
    assert result.broken_seq == seq
    assert "missing" in result.problem


def test_a_trail_that_was_cut_short_is_named_at_the_cut() -> None:
    _append(5)
    _tamper("DELETE FROM breakglass_auditevent WHERE seq > 2")
    assert audit.verify().broken_seq == 3


def test_a_trail_that_was_emptied_is_named_at_its_first_row() -> None:
    _append(3)
    _tamper("DELETE FROM breakglass_auditevent")
    assert audit.verify().broken_seq == 1


def _insert(seq: int, previous: str = "", digest: bytes = b"\xee" * 32) -> str:
    columns = f"{seq}, '2026-01-01 00:00:00', 'x', 'a', '', 's', {_blob(b'{}')}"
    links = f"{_blob(bytes.fromhex(previous or GENESIS))}, {_blob(digest)}"
    return f"INSERT INTO breakglass_auditevent ({SAME}) VALUES ({columns}, {links})"


@pytest.mark.parametrize("seq", [-1, 0, 6, 99])
def test_an_inserted_row_is_named(seq: int) -> None:
    _append(5)
    _tamper(_insert(seq))
    result = audit.verify()
    assert result.broken_seq == seq
    assert "outside the chain" in result.problem


@pytest.mark.parametrize("seq", [-1, 0, 5, 7])
def test_the_database_refuses_a_row_out_of_its_turn(seq: int) -> None:
    head = _append(5).hash
    with pytest.raises(DatabaseError), transaction.atomic():
        _execute(_insert(seq, head))


def test_the_database_refuses_a_row_that_does_not_follow() -> None:
    _append(5)
    with pytest.raises(DatabaseError), transaction.atomic():
        _execute(_insert(6, "ab" * 32))


def test_a_row_with_a_made_up_hash_is_refused_or_named() -> None:
    """PostgreSQL can hash: its trigger refuses the row. On SQLite the check names it."""
    head = _append(5).hash
    if connection.vendor == "sqlite":
        _execute(_insert(6, head))
        assert audit.verify().broken_seq == 6
    else:
        with pytest.raises(DatabaseError), transaction.atomic():
            _execute(_insert(6, head))


def test_swapped_rows_are_named() -> None:
    _append(5)
    _tamper(
        "UPDATE breakglass_auditevent SET seq = -2 WHERE seq = 2",
        "UPDATE breakglass_auditevent SET seq = 2 WHERE seq = 3",
        "UPDATE breakglass_auditevent SET seq = 3 WHERE seq = -2",
    )
    assert audit.verify().broken_seq == 2


HEAD_MOVES = [
    "UPDATE breakglass_audithead SET seq = 2",
    "UPDATE breakglass_audithead SET seq = 4",
    "UPDATE breakglass_audithead SET hash = (SELECT hash FROM breakglass_auditevent WHERE seq = 2)",
    "UPDATE breakglass_audithead SET seq = 2, hash = (SELECT hash FROM breakglass_auditevent WHERE seq = 2)",
    "DELETE FROM breakglass_audithead",
]


@pytest.mark.parametrize("move", HEAD_MOVES)
def test_the_head_only_moves_to_the_next_row(move: str) -> None:
    _append(3)
    with pytest.raises(DatabaseError), transaction.atomic():
        _execute(move)
    assert audit.verify().ok


@pytest.mark.parametrize("move", HEAD_MOVES)
def test_a_head_that_was_moved_or_removed_is_named(move: str) -> None:
    _append(3)
    _tamper(move)
    assert not audit.verify().ok


@pytest.mark.parametrize("page", [1, 7, 19, 20, 21])
def test_long_trails_are_walked_whole(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit_pages.PAGES, connection.vendor, page)
    _append(20)
    assert audit.verify().rows == 20
    _tamper("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 20")
    assert audit.verify().broken_seq == 20


def test_the_command_says_so_by_its_exit_status() -> None:
    _append(3)
    call_command("verify_audit", stdout=io.StringIO())
    _tamper("DELETE FROM breakglass_auditevent WHERE seq = 2")
    said = io.StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command("verify_audit", stdout=io.StringIO(), stderr=said)
    assert caught.value.code == 1
    assert "row 2 is missing" in said.getvalue()
