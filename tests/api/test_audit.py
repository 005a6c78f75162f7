"""What a stranger needs to check the trail comes by the API, for those who may see it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from breakglass.domain import merkle
from breakglass.domain.checkpoint import key_of
from breakglass.services.notary import Memory, Notary
from breakglass.services.notes import Signer, opened
from tests.api.scene import Plant
from tests.support.clock import NOON

SIGNER = Signer("broker.example/audit", bytes(range(32)))


@pytest.fixture
def signed(plant: Plant, tmp_path: Path) -> int:
    """How many rows the notary has signed."""
    clerk = Notary(SIGNER, Memory(tmp_path / "signed"))
    clerk.begin(NOON)
    clerk.look(NOON)
    return clerk.last.size


def test_each_row_carries_the_bytes_that_its_hash_is_of(plant: Plant) -> None:
    items = plant.get("otto", "/audit").body["items"]
    assert len(items) > 3
    for row in items:
        raw = b"\0" + bytes.fromhex(row["previous_hash"]) + row["body"].encode()
        assert hashlib.sha256(raw).hexdigest() == row["hash"]


def test_a_row_is_proven_to_be_in_the_signed_trail(plant: Plant, signed: int) -> None:
    point = plant.get("otto", "/audit/checkpoint").body
    said, _ = opened(point["note"], key_of(point["key"]))
    assert (said.size, said.root.hex()) == (signed, point["root"]) == (point["size"], point["root"])
    for seq in (1, 2, signed):
        found = plant.get("otto", f"/audit/{seq}/proof").body
        path = [bytes.fromhex(node) for node in found["proof"]]
        assert merkle.root_from_inclusion(seq - 1, signed, bytes.fromhex(found["hash"]), path) == said.root


def test_an_older_checkpoint_is_proven_to_be_its_start(plant: Plant, signed: int) -> None:
    rows = [bytes.fromhex(row["hash"]) for row in reversed(plant.get("otto", "/audit").body["items"])]
    old, new = merkle.CompactRange(), merkle.CompactRange()
    old.extend(rows[:3])
    new.extend(rows[:signed])
    found = plant.get("otto", f"/audit/consistency?old=3&new={signed}").body
    path = [bytes.fromhex(node) for node in found["proof"]]
    assert merkle.is_consistent(3, signed, old.root(), new.root(), path)


@pytest.mark.parametrize(
    "path",
    ["/audit/checkpoint", "/audit/1/proof", "/audit/999999/proof", "/audit/consistency?old=1&new=999999"],
)
def test_what_is_not_there_is_not_found(plant: Plant, path: str) -> None:
    answer = plant.get("otto", path)
    assert (answer.status, answer.body["refusal"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/audit/checkpoint", "/audit/1/proof", "/audit/consistency?old=1&new=2"])
def test_it_is_for_those_who_may_see_the_trail(plant: Plant, signed: int, path: str) -> None:
    assert plant.get("rita", path).status == 403
