"""Makes .venv and the front-end files, once; a stamp tells the next start that nothing is to do.

Standard library only: this runs before anything is installed. Packages come from wherever the machine's
own pip, uv and npm are set up to get them; each file is checked against the hash in the lock files.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = {
    "run": [ROOT / "requirements.txt"],
    "test": [ROOT / "requirements.txt", ROOT / "tests/requirements.txt"],
}
PLAYER = ROOT / "node_modules/asciinema-player/dist/bundle"
VENDOR = ROOT / "breakglass/web/static/vendor"
XTERM = ROOT / "node_modules/@xterm"
COPIED = [
    PLAYER / "asciinema-player.min.js",
    PLAYER / "asciinema-player.css",
    XTERM / "xterm/lib/xterm.js",
    XTERM / "xterm/css/xterm.css",
    XTERM / "addon-fit/lib/addon-fit.js",
]
LOG = ROOT / "var" / "setup.log"


class SetupFailed(Exception):
    """What stopped the set-up, and the command that helps."""


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else "run"
    started = time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            built = front_end_is_built()
            npm = None if built else find_npm()
            # Two downloads at once, unless npm itself has to be downloaded first.
            front_end = pool.submit(build_front_end, npm) if npm else None
            work = make_environment(wanted)
            if front_end:
                front_end.result()
            elif not built:
                build_front_end(None)
            work |= not built
    except SetupFailed as problem:
        print(f"\nSet-up stopped: {problem}", file=sys.stderr)  # noqa: T201
        return 1
    if work:
        say(f"set up in {time.monotonic() - started:.0f} s")
    return 0


def make_environment(wanted: str) -> bool:
    """Whether anything had to be installed into .venv."""
    stamp = VENV / f".stamp-{wanted}"
    fingerprint = digest(*LOCKS[wanted])
    if works(PYTHON) and read(stamp) == fingerprint:
        return False
    uv = ensure_venv()
    say("installing Python packages" + (" with uv" if uv else " with pip"))
    install(uv, *LOCKS[wanted])
    stamp.write_text(fingerprint)
    return True


def ensure_venv() -> str | None:
    """Makes .venv where it is missing; the uv to install with, or None for pip."""
    uv = next((path for path in (shutil.which("uv"), str(VENV / "bin/uv")) if path and works(path)), None)
    if works(PYTHON):
        return uv
    shutil.rmtree(VENV, ignore_errors=True)
    say(f"making .venv with Python {sys.version.split()[0]}")
    if uv and attempt([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)]):
        return uv
    if not attempt([sys.executable, "-m", "venv", str(VENV)]):
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupFailed(
            f"{sys.executable} can't make a virtual environment (details: {LOG}).\n"
            "  Debian, Ubuntu:  sudo apt-get install python3-venv"
        )
    own = VENV / "bin/uv"
    return str(own) if pip_install(ROOT / ".ci/uv.txt") and works(own) else None


def install(uv: str | None, *locks: Path) -> None:
    files = [part for lock in locks for part in ("-r", str(lock))]
    if uv:
        command = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(PYTHON), *files]
        if attempt(command):
            return
        say("uv could not, trying pip")
    if not pip_install(*locks):
        raise SetupFailed(f"the packages could not be installed; the reason stands at the end of {LOG}")


def pip_install(*locks: Path) -> bool:
    if not attempt([str(PYTHON), "-m", "pip", "--version"]) and not attempt([str(PYTHON), "-m", "ensurepip"]):
        return False
    files = [part for lock in locks for part in ("-r", str(lock))]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    return attempt([str(PYTHON), "-m", "pip", "install", *quiet, "--require-hashes", *files])


def find_npm() -> str | None:
    if (VENV / "bin/npm").exists() and works(VENV / "bin/npm"):
        return str(VENV / "bin/npm")
    found = shutil.which("npm")
    return found if found and works(found) and works("node") else None


def front_end_is_built() -> bool:
    return read(VENDOR / ".stamp") == front_end_digest() and all(
        (VENDOR / file.name).exists() for file in COPIED
    )


def front_end_digest() -> str:
    return digest(ROOT / "package-lock.json", Path(__file__))


def build_front_end(npm: str | None) -> None:
    """Copies the few files that pages use out of the npm packages."""
    if npm is None:
        say("no Node.js here: it comes as a Python package")
        install(
            next((u for u in (shutil.which("uv"), str(VENV / "bin/uv")) if u and works(u)), None),
            ROOT / ".ci/node.txt",
        )
        npm = str(VENV / "bin/npm")
    say("installing front-end packages")
    environment = os.environ | {"PATH": f"{Path(npm).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    if not attempt([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], env=environment):
        raise SetupFailed(f"npm ci failed; the reason stands at the end of {LOG}")
    VENDOR.mkdir(parents=True, exist_ok=True)
    for file in COPIED:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        # A source map that isn't shipped would stop collectstatic.
        kept = [line for line in lines if "sourceMappingURL=" not in line]
        (VENDOR / file.name).write_text("".join(kept), encoding="utf-8")
    (VENDOR / ".stamp").write_text(front_end_digest())


def attempt(command: list[str], env: dict[str, str] | None = None) -> bool:
    """Runs `command` with its words going to var/setup.log."""
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        return (
            subprocess.run(  # noqa: PLW1510
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, cwd=ROOT
            ).returncode
            == 0
        )


def works(program: str | Path) -> bool:
    try:
        return (
            subprocess.run(
                [str(program), "--version"], check=False, capture_output=True, timeout=20
            ).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def digest(*files: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def say(words: str) -> None:
    print(f"  setup: {words}", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
