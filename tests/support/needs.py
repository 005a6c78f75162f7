"""What a test needs beyond Python. In CI a missing program is a failure; elsewhere a skip that says what to install."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import postgresql

PLACES = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/usr/local/bin"])
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program(name: str) -> str | None:
    """The absolute path of a program, also where only root has it on PATH."""
    return shutil.which(name) or shutil.which(name, path=PLACES)


def chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(program, CHROMIUMS)), None)


def libssh() -> Path | None:
    return next(Path("/usr/lib").glob("*/libssh.so.4"), None)


def nss_wrapper() -> Path | None:
    """A library by which a program takes its accounts from other files than the system's."""
    return next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)


def libfaketime() -> Path | None:
    """A library by which one process has another wall clock than the rest."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def rsyslog_gnutls() -> Path | None:
    """What rsyslogd speaks TLS with."""
    return next(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"), None)


FINDERS: dict[str, Callable[[], object]] = {
    "chromium": chromium,
    "postgresql": postgresql.find_programs,
    "libssh": libssh,
    "nss_wrapper": nss_wrapper,
    "libfaketime": libfaketime,
    "rsyslog-gnutls": rsyslog_gnutls,
}
PACKAGES = {
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "scp": "openssh-client",
    "sftp": "openssh-client",
    "chromium": "chromium",
    "postgresql": "postgresql",
    "redis-server": "redis-server",
    "dbclient": "dropbear-bin",
    "dropbearconvert": "dropbear-bin",
    "dropbear": "dropbear-bin",
    "dropbearkey": "dropbear-bin",
    "plink": "putty-tools",
    "psftp": "putty-tools",
    "pscp": "putty-tools",
    "puttygen": "putty-tools",
    "rsync": "rsync",
    "git": "git",
    "curl": "curl",
    "libssh": "libssh-4",
    "nss_wrapper": "libnss-wrapper",
    "libfaketime": "libfaketime",
    "node": "nodejs",
    "rsyslogd": "rsyslog",
    "rsyslog-gnutls": "rsyslog-gnutls",
}


def found(name: str) -> bool:
    finder = FINDERS.get(name)
    return bool(finder() if finder else program(name))


def requires(*names: str) -> pytest.MarkDecorator:
    """Marks a test that runs only where these programs are; see `pytest_collection_modifyitems` in conftest."""
    return pytest.mark.requires(*names)


def missing(names: tuple[str, ...]) -> str | None:
    """Why a test that needs `names` can't run here, with the command that helps; None if it can."""
    absent = [name for name in names if not found(name)]
    if not absent:
        return None
    packages = " ".join(sorted({PACKAGES.get(name, name) for name in absent}))
    return f"{', '.join(absent)} not found:  sudo apt-get install {packages}"
