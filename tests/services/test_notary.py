"""The notary signs what the trail is, when it is due, and never anything that contradicts what it signed before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from breakglass.domain import merkle
from breakglass.domain.audit import AuditTag
from breakglass.models import AuditCheckpoint, AuditEvent, AuditHead, Notice
from breakglass.models.audit_event import AppendOnly
from breakglass.models.audit_triggers import PROTECT, UNPROTECT
from breakglass.queries import people_in
from breakglass.services import audit, audit_proofs, notary
from breakglass.services.notary import Contradiction, Memory, Notary, Signed
from breakglass.services.notes import Signer, opened
from tests.support.cast import Cast
from tests.support.clock import NOON

pytestmark = pytest.mark.django_db
SIGNER = Signer("broker.example/audit", bytes(range(32)))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "key.signed")


@pytest.fixture
def clerk(memory: Memory) -> Notary:
    """A notary that has begun, and signed the one row that says so."""
    return begun(memory)


def begun(memory: Memory, signer: Signer = SIGNER) -> Notary:
    found = Notary(signer, memory)
    found.begin(NOON)
    found.look(NOON)
    return found


def rows(count: int = 1, tag: AuditTag = AuditTag.LOGIN_FAILED) -> None:
    for number in range(count):
        with transaction.atomic():
            audit.append(tag, actor="rita", subject=f"web:{number}", now=NOON, data={"n": number})


def hashes(size: int) -> list[bytes]:
    found = AuditEvent.objects.filter(seq__lte=size).order_by("seq").values_list("hash", flat=True)
    return [bytes.fromhex(digest) for digest in found]


def root(size: int) -> bytes:
    tree = merkle.CompactRange()
    tree.extend(hashes(size))
    return tree.root()


@contextmanager
def unprotected() -> Iterator[None]:
    execute(*UNPROTECT[connection.vendor])
    yield
    execute(*PROTECT[connection.vendor])


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def later(seconds: float) -> Any:
    return NOON + timedelta(seconds=seconds)


# --- what is signed, and when


def test_a_checkpoint_says_the_merkle_root_of_the_rows_under_a_signature_that_opens(clerk: Notary) -> None:
    rows(6)
    signed = clerk.look(later(61))
    assert signed is not None
    stored = AuditCheckpoint.objects.get(size=7)
    found, key = opened(stored.note, SIGNER.key)
    assert (found.origin, found.size, found.root) == ("broker.example/audit", 7, root(7))
    assert (key, stored.root, signed.note) == (SIGNER.key, root(7).hex(), stored.note)


def test_the_trail_says_once_which_key_signs_it(clerk: Notary, memory: Memory) -> None:
    begun(memory)
    assert [key.name for key in audit_proofs.notary_keys()] == ["broker.example/audit"]
    assert audit_proofs.notary_key() == str(SIGNER.key)


def test_nothing_new_is_nothing_to_sign(clerk: Notary) -> None:
    assert clerk.look(later(3600)) is None


def test_quiet_rows_wait_for_a_minute(clerk: Notary) -> None:
    rows(3)
    assert clerk.look(later(59)) is None
    assert clerk.look(later(60)) is not None


def test_so_many_rows_do_not_wait(clerk: Notary) -> None:
    rows(255)
    assert clerk.look(later(1)) is None
    rows(1)
    assert clerk.look(later(1)) is not None


@pytest.mark.parametrize("tag", notary.AT_ONCE)
def test_grants_and_ends_do_not_wait(clerk: Notary, tag: AuditTag) -> None:
    rows(1)
    assert clerk.look(later(1)) is None
    rows(1, tag)
    signed = clerk.look(later(1))
    assert signed is not None
    assert signed.size == 3


def test_a_clock_that_is_set_back_costs_a_minute_at_most(clerk: Notary) -> None:
    rows(1)
    assert clerk.look(later(-86_400)) is None
    assert clerk.look(later(-86_400 + 60)) is not None


def test_signing_goes_on_where_it_stopped(clerk: Notary, memory: Memory) -> None:
    for count in (1, 2, 3, 70, 5):
        rows(count)
        again = Notary(SIGNER, memory)
        again.begin(NOON)
        signed = again.look(NOON)
        assert signed is not None
        assert opened(signed.note, SIGNER.key)[0].root == root(signed.size)


def test_a_checkpoint_that_was_signed_but_not_stored_is_stored_at_the_next_start(
    clerk: Notary, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(4)
    with monkeypatch.context() as patch:
        patch.setattr(Notary, "_publish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            clerk.look(later(61))
    assert not AuditCheckpoint.objects.filter(size=5).exists()
    rows(2)
    begun(memory)
    kept = memory.read()
    assert kept is not None
    assert list(AuditCheckpoint.objects.values_list("size", flat=True)) == [7, 5, 1]


def test_a_lost_memory_is_found_in_the_database_under_the_own_signature(memory: Memory) -> None:
    first = begun(memory)
    rows(5)
    first.look(later(61))
    memory.path.unlink()
    again = Notary(SIGNER, memory)
    again.begin(NOON)
    assert again.last.size == 6
    assert again.last.tree().root() == root(6)


def test_checkpoints_are_only_ever_added(clerk: Notary) -> None:
    stored = AuditCheckpoint.objects.get()
    with pytest.raises(AppendOnly):
        stored.save()
    with pytest.raises(AppendOnly):
        AuditCheckpoint.objects.all().delete()
    for statement in (
        "UPDATE breakglass_auditcheckpoint SET note = 'x'",
        "DELETE FROM breakglass_auditcheckpoint",
        "INSERT INTO breakglass_auditcheckpoint (size, root, edge, note, signed_at) "
        "SELECT size, root, edge, 'x', signed_at FROM breakglass_auditcheckpoint",
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            execute(statement)


# --- what is not signed


def forge_all(size: int) -> None:
    """As somebody who owns the database: another first row, and the whole chain made anew, head and all."""
    old = list(AuditEvent.objects.order_by("seq"))
    with unprotected():
        execute("DELETE FROM breakglass_auditevent", "DELETE FROM breakglass_audithead")
        AuditHead.objects.create(id=1, seq=0, hash="0" * 64)
    for row in old[:size]:
        with transaction.atomic():
            subject = "forged" if row.seq == 1 else row.subject
            audit.append(AuditTag(row.tag), actor=None, subject=subject, now=row.at, data=row.data)


@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_trail_that_was_written_anew_is_not_signed(memory: Memory, more: int) -> None:
    clerk = begun(memory)
    rows(9)
    clerk.look(later(61))
    forge_all(10)
    assert audit.verify().ok, "the chain is whole in itself"
    rows(more)
    with pytest.raises(Contradiction):
        clerk.look(later(200))
    with pytest.raises(Contradiction, match="written anew"):
        begun(memory)
    assert AuditCheckpoint.objects.count() == 2


def test_a_trail_that_was_cut_is_not_signed(memory: Memory) -> None:
    clerk = begun(memory)
    rows(9)
    clerk.look(later(61))
    forge_all(4)
    with pytest.raises(Contradiction, match="ends at 4"):
        clerk.look(later(200))
    with pytest.raises(Contradiction, match="only 4 hold"):
        begun(memory)


def test_a_changed_row_is_not_signed(memory: Memory) -> None:
    clerk = begun(memory)
    rows(9)
    with unprotected():
        execute("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 5")
    with pytest.raises(Contradiction, match="row 5 was changed"):
        clerk.look(later(61))
    with pytest.raises(Contradiction, match="row 5 was changed"):
        begun(memory)


def test_a_signed_row_that_was_changed_is_found_by_the_next_whole_check(memory: Memory) -> None:
    clerk = begun(memory)
    rows(9)
    clerk.look(later(61))
    with unprotected():
        execute("UPDATE breakglass_auditevent SET subject = 'x' WHERE seq = 5")
    with pytest.raises(Contradiction, match="5 was changed"):
        clerk.check()


def test_a_memory_that_was_spoilt_is_said_not_guessed(memory: Memory) -> None:
    begun(memory)
    memory.path.write_text('{"size": 3, "edge": []}')
    with pytest.raises(ValueError, match=r"memory|nodes"):
        begun(memory)


def test_the_alarm_reaches_the_auditors_once(memory: Memory, cast: Cast) -> None:
    clerk = begun(memory)
    assert clerk.remember_alarm("row 5 was changed")
    notary.raise_alarm("row 5 was changed", NOON)
    again = Notary(SIGNER, memory)
    again._last = memory.read() or Signed()
    assert not again.remember_alarm("row 5 was changed")
    told = Notice.objects.filter(topic="audit").values_list("person__username", flat=True)
    assert set(told) == {person.username for person in people_in(notary.WATCHMEN)} != set()
    assert AuditEvent.objects.filter(tag=AuditTag.NOTARY_REFUSED).count() == 1


# --- proofs for strangers


def test_proofs_lead_from_each_row_to_the_signed_root(clerk: Notary) -> None:
    rows(20)
    clerk.look(later(61))
    point = audit_proofs.newest_checkpoint(covering=21)
    assert point is not None
    assert audit_proofs.newest_checkpoint(covering=22) is None
    proofs = audit_proofs.inclusion_proofs(range(1, 22), 21)
    for seq, leaf in enumerate(hashes(21), start=1):
        assert merkle.root_from_inclusion(seq - 1, 21, leaf, proofs[seq]).hex() == point.root
        assert audit_proofs.inclusion_proof(seq, 21) == proofs[seq]


@pytest.mark.parametrize("old", [0, 1, 4, 6, 7, 12, 13])
def test_proofs_lead_from_an_older_root_to_a_newer(clerk: Notary, old: int) -> None:
    rows(12)
    proof = audit_proofs.consistency_proof(old, 13)
    assert merkle.is_consistent(old, 13, root(old), root(13), proof)


def test_no_proof_for_what_is_not_there(clerk: Notary) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        audit_proofs.inclusion_proof(9, 2)
    with pytest.raises(ValueError, match="1 rows, not 5"):
        audit_proofs.inclusion_proof(2, 5)


def test_rows_are_found_by_what_they_are_about(clerk: Notary) -> None:
    rows(4)
    found = audit_proofs.rows_about(["web:1", "web:3"])
    assert [row.data["n"] for row in found] == [1, 3]


def test_a_head_far_ahead_of_the_rows_is_a_contradiction_at_once(clerk: Notary) -> None:
    with unprotected():
        execute("UPDATE breakglass_audithead SET seq = 9000000000000000000")
    with pytest.raises(Contradiction, match="missing"):
        clerk.look(NOON)


def test_a_checkpoint_that_did_not_reach_the_database_does_before_the_next(
    clerk: Notary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseError("away")

    rows(2)
    with monkeypatch.context() as patch, pytest.raises(DatabaseError):
        patch.setattr(AuditCheckpoint, "save", away)
        clerk.look(later(100))
    assert clerk.last.size == 3
    assert clerk.look(later(101)) is None
    assert AuditCheckpoint.objects.get(size=3).note == clerk.last.note
    rows(1)
    with monkeypatch.context() as patch, pytest.raises(DatabaseError):
        patch.setattr(AuditCheckpoint, "save", away)
        clerk.look(later(200))
    rows(1)
    clerk.look(later(300))
    assert [row.size for row in AuditCheckpoint.objects.order_by("size")] == [1, 3, 4, 5]
