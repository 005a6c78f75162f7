"""Merkle trees as RFC 6962 has them: against its own definition, and against published vectors."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breakglass.domain import merkle
from breakglass.domain.merkle import CompactRange

# Leaves and roots of the reference implementation of Certificate Transparency.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962 2.1, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\1" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def pieces(path: list[tuple[int, int]], hashes: list[bytes]) -> list[bytes]:
    return [mth(hashes[first:last]) for first, last in path]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_that_others_published(size: int) -> None:
    tree = CompactRange()
    tree.extend([merkle.leaf_hash(leaf) for leaf in LEAVES[:size]])
    assert tree.root().hex() == ROOTS[size]


@given(st.integers(0, 70), st.lists(st.integers(1, 40), max_size=5))
def test_a_tree_grows_to_the_same_root_however_its_leaves_come(start: int, steps: list[int]) -> None:
    hashes = leaves(start + sum(steps))
    tree = CompactRange()
    for leaf in hashes[:start]:
        tree.push(leaf)
    for step in steps:
        tree = CompactRange(tree.size, tree.nodes())
        tree.extend(hashes[tree.size : tree.size + step])
    assert (tree.size, tree.root()) == (len(hashes), mth(hashes))


@given(st.integers(0, 9), st.integers(0, 31))
def test_parts_join_at_the_borders_of_whole_subtrees(wholes: int, rest: int) -> None:
    hashes = leaves(wholes * 16 + rest)
    tree = CompactRange()
    for first in range(0, len(hashes), 16):
        part = CompactRange()
        part.extend(hashes[first : first + 16])
        tree.append(part)
    assert tree.root() == mth(hashes)


def test_parts_do_not_join_elsewhere() -> None:
    tree, part = CompactRange(), CompactRange()
    tree.extend(leaves(3))
    part.extend(leaves(2))
    with pytest.raises(ValueError, match="multiple"):
        tree.append(part)


@pytest.mark.parametrize(("size", "nodes"), [(3, [bytes(32)]), (2, [bytes(31)]), (-1, []), (0, [bytes(32)])])
def test_nodes_that_can_not_be_a_trees_are_refused(size: int, nodes: list[bytes]) -> None:
    with pytest.raises(ValueError, match="nodes"):
        CompactRange(size, nodes)


@pytest.mark.parametrize("size", range(1, 40))
def test_each_leaf_is_proven_and_nothing_else(size: int) -> None:
    hashes = leaves(size)
    root = mth(hashes)
    for index, leaf in enumerate(hashes):
        proof = pieces(merkle.inclusion_path(index, size), hashes)
        assert merkle.root_from_inclusion(index, size, leaf, proof) == root
        assert merkle.root_from_inclusion(index, size, bytes(32), proof) != root
        for wrong in ([*proof, bytes(32)], proof[:-1]):
            if proof:
                with pytest.raises(ValueError, match=r"long|short"):
                    merkle.root_from_inclusion(index, size, leaf, wrong)
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_path(size, size)


@pytest.mark.parametrize("new", range(1, 34))
def test_each_earlier_tree_is_proven_to_be_the_start(new: int) -> None:
    hashes = leaves(new)
    for old in range(new + 1):
        proof = pieces(merkle.consistency_path(old, new), hashes)
        before, after = mth(hashes[:old]), mth(hashes)
        assert merkle.is_consistent(old, new, before, after, proof)
        if 0 < old < new:
            assert not merkle.is_consistent(old, new, bytes(32), after, proof)
            assert not merkle.is_consistent(old, new, before, bytes(32), proof)
            assert not merkle.is_consistent(old, new, before, after, proof[:-1])
            assert not merkle.is_consistent(old, new, before, after, [*proof, bytes(32)])
            flipped = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
            assert not merkle.is_consistent(old, new, before, after, flipped)


@given(st.integers(0, 200), st.integers(0, 200))
def test_subtrees_cover_exactly_what_was_asked_for(first: int, count: int) -> None:
    covered = [
        leaf for level, index in merkle.subtrees(first, first + count) for leaf in range(index << level, index + 1 << level)
    ]  # fmt: skip
    assert covered == list(range(first, first + count))
