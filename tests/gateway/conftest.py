from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, connections

from sessions.gateway.limits import Limits
from tests.gateway import house as building
from tests.gateway.house import House


@pytest.fixture
def committed_db(transactional_db: None) -> Iterator[None]:
    """A database as migrations leave it, with real commits that every thread sees.

    Django's own flush stumbles over the triggers that keep audit rows: they are emptied before it comes.
    """
    _empty()
    yield
    _empty()
    connections.close_all()


def _empty() -> None:
    if connection.vendor == "sqlite":
        _empty_sqlite()
        return
    tables = [name for name in connection.introspection.table_names() if name != "django_migrations"]
    keep = {"django_content_type", "auth_permission"}
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for name in tables:
            if name not in keep:
                cursor.execute(f'DELETE FROM "{name}"')
        cursor.execute("SET session_replication_role = DEFAULT")
    _first_head()


def _empty_sqlite() -> None:
    path = connection.settings_dict["NAME"]
    connections.close_all()
    with sqlite3.connect(path, timeout=20) as raw:
        raw.execute("PRAGMA foreign_keys=OFF")
        triggers = raw.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            raw.execute(f'DROP TRIGGER "{name}"')
        keep = {"django_migrations", "django_content_type", "auth_permission", "sqlite_sequence"}
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall():
            if name not in keep:
                raw.execute(f'DELETE FROM "{name}"')
        for _, sql in triggers:
            raw.execute(sql)
    raw.close()
    _first_head()


def _first_head() -> None:
    from breakglass.models import AuditHead

    AuditHead.objects.get_or_create(id=1, defaults={"seq": 0, "hash": "0" * 64})


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_per_address=1000, burst_per_address=1000)


@pytest.fixture
def plain_house(committed_db: None, tmp_path: Path, limits: Limits) -> Iterator[House]:
    """The house without a gateway."""
    settings.BREAKGLASS.data_dir.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(settings.BREAKGLASS.data_dir / "recordings", ignore_errors=True)
    house = building.build(tmp_path)
    house.limits = limits
    try:
        yield house
    finally:
        house.stop()
        house.sshd.stop()


@pytest.fixture
def house(plain_house: House) -> House:
    """The house with a running gateway and no grant."""
    plain_house.start()
    return plain_house
