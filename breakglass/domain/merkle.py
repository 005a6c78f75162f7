"""RFC 6962 Merkle trees over SHA-256: leaf and node hashes, roots, and proofs (section 2.1; RFC 9162 2.1.3, 2.1.4).

A whole subtree is named by (level, index): its leaves are those from `index << level` up to, not with, `index + 1 << level`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
_NODE = sha256(b"\1")
Node = tuple[int, int]


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data)."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\1" + left + right).digest()


class CompactRange:
    """The fewest nodes that a growing tree's root comes from: one for each bit of its size."""

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        """`nodes` from the left, as `nodes()` gave them. Raises ValueError if they can't be those of `size` leaves."""
        if size < 0 or len(nodes) != size.bit_count() or any(len(node) != 32 for node in nodes):
            raise ValueError(f"these aren't the nodes of a tree of {size} leaves")
        self.size = size
        self._nodes = list(nodes)

    def copy(self) -> CompactRange:
        return CompactRange(self.size, self._nodes)

    def nodes(self) -> tuple[bytes, ...]:
        return tuple(self._nodes)

    def push(self, node: bytes, level: int = 0, seen: Callable[[Node, bytes], None] | None = None) -> None:
        """One whole subtree of `1 << level` leaves more at the right edge. `seen` is told each node that came about."""
        if self.size & ((1 << level) - 1):
            raise ValueError("a subtree starts at a multiple of its size")
        if seen:
            seen((level, self.size >> level), node)
        self.size += 1 << level
        index = (self.size >> level) - 1
        while index & 1:
            node = node_hash(self._nodes.pop(), node)
            level, index = level + 1, index >> 1
            if seen:
                seen((level, index), node)
        self._nodes.append(node)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Many leaves at once, level by level where they fill whole subtrees."""
        at, count = 0, len(leaves)
        while at < count:
            level = _aligned(self.size, count - at)
            self.push(subtree(leaves[at : at + (1 << level)]), level)
            at += 1 << level

    def append(self, other: CompactRange) -> None:
        """Another range's leaves after ours, by its nodes alone. Raises ValueError where they don't fit the borders."""
        levels = (level for level in range(other.size.bit_length() - 1, -1, -1) if other.size >> level & 1)
        for level, node in zip(levels, other.nodes(), strict=True):
            self.push(node, level)

    def root(self) -> bytes:
        """The Merkle tree hash of everything pushed so far."""
        if not self._nodes:
            return EMPTY_ROOT
        root = self._nodes[-1]
        for node in reversed(self._nodes[:-1]):
            root = node_hash(node, root)
        return root


def subtree(leaves: Sequence[bytes]) -> bytes:
    """The root of a whole subtree, whose leaves are a power of two. Copies of a begun hash: quicker than new ones."""
    begun, level = _NODE.copy, leaves
    while len(level) > 1:
        nodes: list[bytes] = []
        for left, right in zip(level[::2], level[1::2], strict=True):
            node = begun()
            node.update(left + right)
            nodes.append(node.digest())
        level = nodes
    return level[0]


def subtrees(first: int, last: int) -> Iterator[Node]:
    """The whole subtrees that together are the leaves first..last-1, from the left."""
    while first < last:
        level = _aligned(first, last - first)
        yield level, first >> level
        first += 1 << level


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """Which parts of the tree (leaves first..last-1) are the audit path of leaf `index` in a tree of `size`, in order."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return _inclusion(index, 0, size)


def consistency_path(old: int, new: int) -> list[tuple[int, int]]:
    """Which parts of the tree prove that the tree of `old` leaves is the start of that of `new`, in order."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves has no earlier tree of {old}")
    return [] if old in (0, new) else _consistency(old, 0, new, whole=True)


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that a tree of `size` must have if `leaf` is leaf `index` of it (RFC 9162 2.1.3.2). Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    fn, sn, root = index, size - 1, leaf
    for node in proof:
        if sn == 0:
            raise ValueError("the proof is too long")
        if fn & 1 or fn == sn:
            root = node_hash(node, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node_hash(root, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ValueError("the proof is too short")
    return root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `old` leaves is the start of that of `new` (RFC 9162 2.1.4.2)."""
    if old in (0, new):
        return old <= new and not proof and (old == 0 or old_root == new_root)
    if not 0 < old < new or not proof:
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


def _aligned(first: int, count: int) -> int:
    """The level of the biggest whole subtree that starts at leaf `first` and has at most `count` leaves."""
    most = count.bit_length() - 1
    return min(most, (first & -first).bit_length() - 1) if first else most


def _split(count: int) -> int:
    """The largest power of two below `count`: where RFC 6962 parts a tree."""
    return 1 << (count - 1).bit_length() - 1


def _inclusion(index: int, first: int, last: int) -> list[tuple[int, int]]:
    if last - first == 1:
        return []
    middle = first + _split(last - first)
    if index < middle:
        return [*_inclusion(index, first, middle), (middle, last)]
    return [*_inclusion(index, middle, last), (first, middle)]


def _consistency(old: int, first: int, last: int, *, whole: bool) -> list[tuple[int, int]]:
    if old == last:
        return [] if whole else [(first, last)]
    middle = first + _split(last - first)
    if old <= middle:
        return [*_consistency(old, first, middle, whole=whole), (middle, last)]
    return [*_consistency(old, middle, last, whole=False), (first, middle)]
