"""Fixtures for all tests, and two rules: a test that commits leaves empty tables; CI skips nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from django.test import TransactionTestCase
from playwright.sync_api import Browser

from tests.support import cast as people_of_the_house
from tests.support import needs
from tests.support.browser import chromium
from tests.support.cast import Cast
from tests.support.clock import FrozenClock
from tests.support.emptying import empty_all_tables
from tests.support.stack import Stack, start

IN_CI = bool(os.environ.get("CI"))
# What happens here happens between a client, the gateway and an asset: the kind of database can't matter.
NOT_ABOUT_DATABASES = (
    "tests/evidence/test_verifier",
    "tests/gateway/test_assets",
    "tests/gateway/test_clients",
    "tests/gateway/test_files_",
    "tests/gateway/test_floods",
    "tests/gateway/test_hostile_assets",
    "tests/gateway/test_intruders",
    "tests/gateway/test_protocol",
    "tests/gateway/test_shell_and_exec",
    "tests/gateway/test_ssh_audit",
    "tests/gateway/test_unrecorded",
)


@pytest.fixture
def time() -> FrozenClock:
    """Noon on a Monday, until the test moves it. The process's clock goes on: see `frozen`."""
    return FrozenClock()


@pytest.fixture
def frozen(time: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> FrozenClock:
    """`time`, and everything that asks `breakglass.clock` gets it."""
    time.rule(monkeypatch)
    return time


@pytest.fixture
def cast(db: None, time: FrozenClock) -> Cast:
    """Everybody, in the database."""
    return people_of_the_house.everybody(time.now)


@pytest.fixture
def transactional_cast(transactional_db: None, time: FrozenClock) -> Cast:
    """Everybody, for tests whose threads or processes must see committed rows."""
    return people_of_the_house.everybody(time.now)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product, running, shared by all tests that ask for it: leave it usable for the next one."""
    running = start(tmp_path_factory.mktemp("stack"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium. Playwright keeps an event loop in this thread, which Django's ORM refuses: no longer than a module."""
    with chromium() as started:
        yield started


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-database", action="store_true", help="only tests that use this process's database"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*programs): runs only where these programs are installed")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")
    signal.signal(signal.SIGTERM, _stop)
    _empty_instead_of_flushing()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--only-database"):
        chosen = [
            item for item in items if _uses_database(item) and not item.nodeid.startswith(NOT_ABOUT_DATABASES)
        ]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen
    for item in items:
        for mark in item.iter_markers("requires"):
            reason = needs.missing(mark.args)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """With CI set a skipped test is a failed one: nothing is left out unseen."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"


def _uses_database(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return (
        "db" in fixtures or "transactional_db" in fixtures or item.get_closest_marker("django_db") is not None
    )


def _stop(*_: object) -> None:
    """As Ctrl-C does: the tests end in order, and whatever they have started ends with them."""
    raise KeyboardInterrupt


def _empty_instead_of_flushing() -> None:
    """How a transactional test ends: see `tests.support.emptying`."""

    def teardown(case: TransactionTestCase) -> None:
        empty_all_tables()

    TransactionTestCase._fixture_teardown = teardown  # type: ignore[method-assign]
