"""The house's key for recordings: derived from the master key, given by the environment or a file, or asked of a program."""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import IO, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from breakglass import clock
from breakglass.config import PREFIX, keys_in
from breakglass.services import vault
from sessions.recording.keyring import Keyring, KeyUnavailable

PATIENCE: Final = 10.0
"""Seconds that such a program may take."""
REMEMBERED: Final = 300.0
"""Seconds for which its answer counts in one process."""
MOST_SAID: Final = 64 * 1024


def keyring() -> Keyring:
    """The key in use and those that still open what they wrapped. KeyUnavailable where a program doesn't give it.

    The key derived from the master key is always among them.
    """
    derived = vault.derive("recordings")
    given = _given("recording_key")
    older = _given("recording_keys_old")
    return Keyring(given[0] if given else derived, *older, derived)


def recording_key() -> bytes:
    """The key in use: what is written from now on is wrapped by it. KeyUnavailable."""
    given = _given("recording_key")
    return given[0] if given else vault.derive("recordings")


def seal_key() -> Ed25519PrivateKey:
    """Signs manifests. It stays what it is: a signature must hold for as long as the recording."""
    return Ed25519PrivateKey.from_private_bytes(vault.derive("seal"))


def _given(name: str) -> tuple[bytes, ...]:
    config = settings.BREAKGLASS
    command = getattr(config, f"{name}_command")
    return _asked(f"{name}_command", command) if command else keys_in(getattr(config, name))


_lock = threading.Lock()
_answers: dict[tuple[str, str], tuple[tuple[bytes, ...], float]] = {}


def _asked(name: str, command: str) -> tuple[bytes, ...]:
    with _lock:
        known, at = _answers.get((name, command), ((), 0.0))
        if known and clock.monotonic() - at < REMEMBERED:
            return known
        keys = _run(name, command)
        _answers[name, command] = keys, clock.monotonic()
        return keys


def forget() -> None:
    """Ask the programs anew next time."""
    with _lock:
        _answers.clear()


def _run(name: str, command: str) -> tuple[bytes, ...]:
    words = shlex.split(command)
    # Its further words may hold a secret.
    called = f"{PurePath(words[0]).name} ({PREFIX}{name.upper()})"
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(os.environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise KeyUnavailable(f"{called} can't be run: {why}") from None
    try:
        said = _read(process, called)
    finally:
        _end(process)
    if process.returncode:
        raise KeyUnavailable(f"{called} ended with status {process.returncode}")
    try:
        keys = keys_in(said.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        keys = ()
    if not keys or (len(keys) > 1 and name == "recording_key_command"):
        raise KeyUnavailable(f"{called} didn't say 32 bytes in base64")
    return keys


def _read(process: subprocess.Popen[bytes], called: str) -> bytes:
    """All that it says before it ends, within bounds of time and size."""
    pipe: IO[bytes] | None = process.stdout
    assert pipe is not None
    said = b""
    until = clock.monotonic() + PATIENCE
    with selectors.DefaultSelector() as ready:
        ready.register(pipe, selectors.EVENT_READ)
        while (left := until - clock.monotonic()) > 0 and len(said) <= MOST_SAID:
            if ready.select(left):
                piece = os.read(pipe.fileno(), 4096)
                if not piece:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, until - clock.monotonic()))
                        return said
                    break
                said += piece
    why = "said too much" if len(said) > MOST_SAID else f"didn't end within {PATIENCE:.0f} s"
    raise KeyUnavailable(f"{called} {why}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and whatever it has started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()


def _environment(whole: Mapping[str, str]) -> dict[str, str]:
    """What such a program sees: none of our own settings, which are secrets, or lead to them."""
    return {name: value for name, value in whole.items() if not name.startswith(PREFIX)}
