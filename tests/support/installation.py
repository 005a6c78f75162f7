"""A throwaway installation for the tests of this process: keys, folders, and the database that was asked for.

`BREAKGLASS_TEST_DATABASE=postgresql` starts a PostgreSQL of its own; otherwise SQLite. A `BREAKGLASS_*` setting
that is given already is left as it is.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from pathlib import Path

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


def set_up() -> None:
    """Fills the environment, once for each process."""
    if "BREAKGLASS_MASTER_KEY" in os.environ:
        return
    root = Path(tempfile.mkdtemp(prefix="breakglass-tests-"))
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(root, ignore_errors=True))
    kind = os.environ.get("BREAKGLASS_TEST_DATABASE", "sqlite")
    if kind not in {"sqlite", "postgresql"}:
        raise SystemExit(f"BREAKGLASS_TEST_DATABASE={kind}: it takes sqlite or postgresql.")
    database = _postgresql() if kind == "postgresql" else ""
    for name, value in settings_in(root, database_url=database).items():
        os.environ.setdefault(name, value)


def settings_in(root: Path, *, database_url: str = "", redis_url: str = "") -> dict[str, str]:
    """The settings of an installation that keeps everything below `root`."""
    (root / "data").mkdir(mode=0o700, exist_ok=True)
    return {
        "BREAKGLASS_SECRET_KEY": "only-for-tests-" + "x" * 40,
        "BREAKGLASS_MASTER_KEY": MASTER_KEY,
        "BREAKGLASS_DATA_DIR": str(root / "data"),
        "BREAKGLASS_DATABASE_URL": database_url,
        "BREAKGLASS_DISK_RESERVE_MIB": "4",
        # Tests ask all the time; those about the cap set their own.
        "BREAKGLASS_REQUESTS_AN_HOUR": "10000",
        # Nobody listens there: what must not depend on Redis is tested without it.
        "BREAKGLASS_REDIS_URL": redis_url or f"unix://{root}/no-redis.sock",
    }


def _postgresql() -> str:
    from tests.support.postgresql import Cluster

    cluster = Cluster.start()
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and cluster.stop())
    return cluster.url
