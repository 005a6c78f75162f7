"""What a stranger needs to check a few rows of the trail: the checkpoint over them, and the way from each to its root.

Formats: docs/audit.md. Each call of `inclusion_proofs` or `consistency_proof` reads every hash of the tree once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from django.db import connection

from breakglass.domain import merkle
from breakglass.domain.audit import AuditTag
from breakglass.domain.checkpoint import Key, key_of
from breakglass.models import AuditCheckpoint, AuditEvent
from breakglass.models.audit_event import TABLE

PAGE = 50_000
Piece = tuple[int, int]


def newest_checkpoint(covering: int = 1) -> AuditCheckpoint | None:
    """The newest checkpoint, if row `covering` is under it: row `seq` is under every checkpoint of that size or more."""
    return AuditCheckpoint.objects.filter(size__gte=covering).order_by("-size").first()


def notary_keys() -> list[Key]:
    """Every key that the notary has started with, the newest last. It is the trail's own word: compare it with another."""
    rows = AuditEvent.objects.filter(tag=AuditTag.NOTARY_STARTED).order_by("seq")
    return [key for row in rows if (key := _key_in(row)) is not None]


def _key_in(row: AuditEvent) -> Key | None:
    """None where the row was changed: to say so is the check's work, which must come that far."""
    try:
        return key_of(str(row.data["key"]))
    except (ValueError, KeyError, TypeError):
        return None


def notary_key() -> str:
    """The verifier key of today's notary (`name+id+base64`); empty before its first start."""
    return next((str(key) for key in reversed(notary_keys())), "")


def rows_about(subjects: Collection[str]) -> list[AuditEvent]:
    """The rows about these subjects (`grant:...`), in order."""
    return list(AuditEvent.objects.filter(subject__in=subjects).order_by("seq"))


def inclusion_proof(seq: int, size: int) -> list[bytes]:
    """The audit path (RFC 6962 2.1.1) of row `seq`, leaf `seq - 1`, in the tree of the first `size` rows."""
    return inclusion_proofs([seq], size)[seq]


def inclusion_proofs(seqs: Iterable[int], size: int) -> dict[int, list[bytes]]:
    """Audit paths of several rows, for the price of one. Raises ValueError for a row that isn't in that tree."""
    paths = {seq: merkle.inclusion_path(seq - 1, size) for seq in seqs}
    hashes = _hashes_of([piece for path in paths.values() for piece in path], size)
    return {seq: [hashes[piece] for piece in path] for seq, path in paths.items()}


def consistency_proof(old: int, new: int) -> list[bytes]:
    """The proof (RFC 6962 2.1.2) that the first `old` rows are the start of the first `new`."""
    path = merkle.consistency_path(old, new)
    hashes = _hashes_of(path, new)
    return [hashes[piece] for piece in path]


def _hashes_of(pieces: Sequence[Piece], size: int) -> dict[Piece, bytes]:
    """The Merkle tree hash of each piece (leaves first..last-1)."""
    if not pieces:
        return {}
    wanted: dict[merkle.Node, bytes] = {node: b"" for piece in pieces for node in merkle.subtrees(*piece)}

    def note(node: merkle.Node, value: bytes) -> None:
        if node in wanted:
            wanted[node] = value

    tree = merkle.CompactRange()
    for low in range(1, size + 1, PAGE):
        for leaf in _leaves(low, min(low + PAGE - 1, size)):
            tree.push(leaf, seen=note)
    if tree.size != size:
        raise ValueError(f"the trail has {tree.size} rows, not {size}")
    return {piece: _folded([wanted[node] for node in merkle.subtrees(*piece)]) for piece in set(pieces)}


def _folded(nodes: Sequence[bytes]) -> bytes:
    """The root over whole subtrees that get smaller to the right."""
    root = nodes[-1]
    for node in reversed(nodes[:-1]):
        root = merkle.node_hash(node, root)
    return root


def _leaves(first: int, last: int) -> list[bytes]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT hash FROM {TABLE} WHERE seq BETWEEN %s AND %s ORDER BY seq", [first, last])
        return [bytes(digest) for (digest,) in cursor.fetchall()]
