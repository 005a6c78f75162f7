"""What the recording tests share: recorders, a small disk to fill, the real asciinema program."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from breakglass.models import Grant
from sessions.recording.recorder import Recorder, RecordingFailed
from tests.recording.scene import HEADER, HandClock, Keys
from tests.services.scene import Scene
from tests.support.cast import Cast
from tests.support.clock import FrozenClock


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys()


@pytest.fixture
def scene(cast: Cast, time: FrozenClock) -> Scene:
    """The house of the service tests."""
    return Scene(cast, time)


@pytest.fixture
def grant(scene: Scene) -> Grant:
    """Rita's grant, just approved by Ada."""
    return scene.granted()


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Starts recorders that are closed when the test is over."""
    started: list[Recorder] = []

    def start(path: Path | None = None, clock: HandClock | None = None) -> Recorder:
        where = path or tmp_path / f"{len(started)}.cast"
        started.append(Recorder(where, HEADER, clock=clock or time))
        return started[-1]

    yield start
    for recorder in started:
        try:
            recorder.close()
        except RecordingFailed as error:
            print(f"closing {recorder.path}: {error}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB: a real one, so only where we may mount."""
    where = tmp_path / "small-disk"
    where.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.mount(b"none", bytes(where), b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip("only root may mount the small disk of this test")
    yield where
    libc.umount2(bytes(where), 2)


@pytest.fixture(scope="session")
def asciinema(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs the real asciinema program; a recording is accepted if it exits 0 and prints no traceback."""
    program = Path(sys.executable).with_name("asciinema")
    home = tmp_path_factory.mktemp("asciinema-home")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "ASCIINEMA_CONFIG_HOME": str(home), "PYTHONUTF8": "1"}
        return subprocess.run(
            [program, *arguments], capture_output=True, env=environment, timeout=60, check=False
        )

    return run
