"""The notary: signs the trail's Merkle root, again and again, and signs nothing that contradicts what it signed before.

Runs in a process of its own, the only one that may read its key. What it signed last it keeps in a file of its own beside
the key: whoever can write to the database can't make it forget.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction

from breakglass.domain.audit import GENESIS, AuditTag
from breakglass.domain.checkpoint import Checkpoint
from breakglass.domain.merkle import CompactRange
from breakglass.models import AuditCheckpoint, AuditEvent, AuditHead
from breakglass.queries import people_in
from breakglass.services import audit, audit_check, notices
from breakglass.services.audit_proofs import notary_keys
from breakglass.services.notes import Signer, opened

EVERY = timedelta(seconds=60)
MOST_ROWS = 256
AT_ONCE = (
    AuditTag.GRANT_ISSUED,
    AuditTag.GRANT_RELEASED,
    AuditTag.GRANT_REVOKED,
    AuditTag.GRANT_EXPIRED,
    AuditTag.SESSION_ENDED,
    AuditTag.SESSION_CRASHED,
    AuditTag.TRAIL_CONVERTED,
)
WATCHMEN = ("auditors", "administrators")
SUBJECT = "audit:notary"


class Contradiction(Exception):
    """The trail is no longer what was signed: rows were changed, cut off, or written anew."""


@dataclass(frozen=True)
class Signed:
    """What the notary remembers of its last checkpoint. `edge`: the tree's right edge; `head`: the last row's hash."""

    size: int = 0
    head: str = GENESIS
    edge: tuple[str, ...] = ()
    note: str = ""
    at: str = ""
    alarm: str = ""

    def tree(self) -> CompactRange:
        return CompactRange(self.size, [bytes.fromhex(node) for node in self.edge])


class Memory:
    """The notary's own file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Signed | None:
        """None before the first checkpoint. Raises ValueError where the file isn't what was written."""
        try:
            found = json.loads(self.path.read_text())
            signed = Signed(**{**found, "edge": tuple(found["edge"])})
            signed.tree()
        except FileNotFoundError:
            return None
        except (TypeError, KeyError) as error:
            raise ValueError(f"{self.path} isn't the notary's memory: {error}") from None
        return signed

    def write(self, signed: Signed) -> None:
        """On disk when this returns, whole or not at all."""
        fresh = self.path.with_name(self.path.name + ".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump(asdict(signed), out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Notary:
    """One key's work on one trail. `begin` first; then `look` as often as one likes."""

    def __init__(self, signer: Signer, memory: Memory, processes: int = 1) -> None:
        self._signer = signer
        self._memory = memory
        self._processes = processes
        self._last = Signed()
        self._signed_at: datetime | None = None
        self._is_published = True

    @property
    def last(self) -> Signed:
        return self._last

    def begin(self, now: datetime) -> None:
        """Recall what was signed, hold the whole trail against it, and tell the trail who signs from now on.

        Raises Contradiction, and ValueError for a memory that can't be read.
        """
        self._last = self._memory.read() or self._from_database()
        self.check()
        self._publish()  # if the end came between the signing and the database
        if self._signer.key not in notary_keys():
            key = {"key": str(self._signer.key), "origin": self._signer.key.name, "size": self._last.size}
            audit.record(AuditTag.NOTARY_STARTED, actor=None, subject=SUBJECT, now=now, data=key)

    def check(self) -> None:
        """The whole trail, from its first row, against what was signed last. Raises Contradiction."""
        size = self._last.size
        found = audit_check.verify({size} if size else (), self._processes)
        if found.rows < size:
            raise Contradiction(
                f"{size} rows were signed, only {found.rows} hold: {found.problem or 'cut off'}"
            )
        if size and found.roots.get(size) != self._last.tree().root():
            raise Contradiction(
                f"the first {size} rows aren't those that were signed: the trail was written anew"
            )
        if not found.ok:
            raise Contradiction(found.problem)

    def look(self, now: datetime) -> Signed | None:
        """The checkpoint that was due, signed, remembered and published; None where none was. Raises Contradiction."""
        if not self._is_published:
            self._publish()
        head = AuditHead.objects.get(id=1)
        if head.seq < self._last.size:
            raise Contradiction(f"{self._last.size} rows were signed, but the trail ends at {head.seq}")
        if head.seq == self._last.size:
            if head.hash != self._last.head:
                raise Contradiction(f"row {head.seq} isn't the one that was signed")
            return None
        if not self._is_due(head.seq, now):
            return None
        return self._sign(head.seq, now)

    def remember_alarm(self, alarm: str) -> bool:
        """Whether this is news: the same alarm is raised once, however often the notary is started."""
        if self._last.alarm == alarm:
            return False
        self._last = replace(self._last, alarm=alarm)
        self._memory.write(self._last)
        return True

    def _is_due(self, head: int, now: datetime) -> bool:
        if head - self._last.size >= MOST_ROWS or self._signed_at is None or now - self._signed_at >= EVERY:
            return True
        self._signed_at = min(self._signed_at, now)  # the wall clock may be set back
        return AuditEvent.objects.filter(seq__gt=self._last.size, tag__in=AT_ONCE).exists()

    def _sign(self, size: int, now: datetime) -> Signed:
        if not AuditEvent.objects.filter(seq=size).exists():  # else a head far ahead would be walked after
            raise Contradiction(f"the head of the trail names row {size}, which is missing")
        part = audit_check.walk(self._last.size + 1, size, tree=self._last.tree())
        if part.problem:
            raise Contradiction(part.problem)
        if part.previous.hex() != self._last.head or part.rows.size != size:
            raise Contradiction(f"the rows after {self._last.size} don't follow the last one that was signed")
        checkpoint = Checkpoint(self._signer.key.name, size, part.rows.root())
        edge = tuple(node.hex() for node in part.rows.nodes())
        note = self._signer.sign(checkpoint.text())
        self._last = Signed(size, part.head.hex(), edge, note, now.isoformat())
        self._memory.write(self._last)
        self._signed_at = now
        self._is_published = False
        self._publish()
        return self._last

    def _publish(self) -> None:
        """Into the database; while that fails, again at each look, and before anything more is signed."""
        last = self._last
        if last.size and not AuditCheckpoint.objects.filter(size=last.size).exists():
            AuditCheckpoint(
                size=last.size,
                root=last.tree().root().hex(),
                edge=b"".join(bytes.fromhex(node) for node in last.edge),
                note=last.note,
                signed_at=datetime.fromisoformat(last.at),
            ).save()
        self._is_published = True

    def _from_database(self) -> Signed:
        """A lost memory, as far as our own signature vouches for it."""
        for row in AuditCheckpoint.objects.order_by("-size").iterator():
            try:
                checkpoint, _ = opened(row.note, self._signer.key)
            except ValueError:
                continue
            last = AuditEvent.objects.filter(seq=checkpoint.size).first()
            nodes = tuple(row.edge[at : at + 32].hex() for at in range(0, len(row.edge), 32))
            found = Signed(
                checkpoint.size, last.hash if last else "", nodes, row.note, row.signed_at.isoformat()
            )
            if found.tree().root() != checkpoint.root:
                raise Contradiction(f"the edge stored with checkpoint {row.size} doesn't give its root")
            return found
        return Signed()


def raise_alarm(problem: str, now: datetime) -> None:
    """The auditors and administrators hear of it, and the trail, if it still takes rows."""
    with transaction.atomic():
        notices.queue(
            people_in(WATCHMEN),
            topic="audit",
            subject="The audit trail contradicts what was signed",
            body=f"The notary has stopped signing: {problem}.\n\n"
            "Keep the database as it is, and run: manage.py verify_audit",
            path="/audit/",
            now=now,
        )
        audit.append(AuditTag.NOTARY_REFUSED, actor=None, subject=SUBJECT, now=now, data={"problem": problem})
