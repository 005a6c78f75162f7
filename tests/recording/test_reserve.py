"""The reserve: held where there is room for it, given back once, made again when the room is back."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sessions.recording.reserve import Reserve

MIB = 1 << 20


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_it_takes_real_room_and_gives_it_back(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", MIB)
    assert not reserve.is_whole
    assert not reserve.release()
    assert reserve.make()
    assert reserve.is_whole
    found = (tmp_path / "reserve").stat()
    assert (found.st_size, found.st_mode & 0o777) == (MIB, 0o600)
    assert found.st_blocks * 512 >= MIB
    assert not reserve.make()
    assert reserve.release()
    assert not reserve.is_whole
    assert (tmp_path / "reserve").stat().st_blocks == 0


def test_a_disk_that_has_too_little_beside_it_gets_none(small_disk: Path) -> None:
    reserve = Reserve(small_disk / "reserve", MIB)
    before = free(small_disk)
    assert not reserve.make()
    assert not reserve.is_whole
    assert free(small_disk) >= before - 8192


def test_another_size_is_made_anew(tmp_path: Path) -> None:
    assert Reserve(tmp_path / "reserve", MIB).make()
    larger = Reserve(tmp_path / "reserve", 2 * MIB)
    assert not larger.is_whole
    assert larger.make()
    assert larger.is_whole


def test_of_many_who_give_it_back_or_make_it_one_did(tmp_path: Path) -> None:
    def reserves() -> list[Reserve]:
        return [Reserve(tmp_path / "reserve", MIB) for _ in range(8)]

    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            assert sum(threads.map(Reserve.make, reserves())) == 1
            assert sum(threads.map(Reserve.release, reserves())) == 1


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "somebody else's"
    other.write_bytes(b"precious")
    (tmp_path / "reserve").symlink_to(other)
    reserve = Reserve(tmp_path / "reserve", MIB)
    assert not reserve.make()
    assert not reserve.release()
    assert other.read_bytes() == b"precious"
