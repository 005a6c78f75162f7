"""Run by test_seal.py: seal in a child that is killed by SIGKILL before the nth line of the sealing code, for each n."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from sessions.recording import files, recovery, seal, sealed
from tests.recording.scene import Keys, session

WATCHED = {module.__file__ for module in (files, recovery, seal, sealed)}


def die_before_line(wanted: int) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            seen += 1
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def killed(work: Path, keys: Keys, wanted: int) -> bool:
    child = os.fork()
    if child == 0:
        die_before_line(wanted)
        seal.seal(work / "a.cast", work / "a.sealed", keys.encryption, keys.signing, {"session": "a"})
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main(work: Path) -> None:
    keys = Keys()
    plain = session(work / "original.cast")
    wanted, states = 1, set()
    while True:
        for path in (work / "a.cast", work / "a.sealed", work / "a.sealed.draft"):
            path.unlink(missing_ok=True)
        shutil.copy(work / "original.cast", work / "a.cast")
        if not killed(work, keys, wanted):
            break
        unsealed = (work / "a.cast").exists() and (work / "a.cast").read_bytes() == plain
        is_sealed = (work / "a.sealed").exists()
        assert unsealed or is_sealed, f"nothing is left after a kill at line {wanted}"
        if is_sealed:
            assert b"".join(seal.open_sealed(work / "a.sealed", keys.encryption, keys.public)) == plain
        states.add((unsealed, is_sealed, (work / "a.sealed.draft").exists()))
        seal.seal(work / "a.cast", work / "a.sealed", keys.encryption, keys.signing, {"session": "a"})
        assert b"".join(seal.open_sealed(work / "a.sealed", keys.encryption, keys.public)) == plain
        assert not (work / "a.cast").exists()
        wanted += 1
    print(wanted, len(states))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
