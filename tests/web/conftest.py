from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import DjangoDbBlocker

from breakglass import clock
from breakglass.models import TotpFactor
from tests.web import stage
from tests.web.stage import Scene

Enter = Callable[[str], Client]


@pytest.fixture(scope="module")
def _set(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Scene]:
    """Set once for a module, in a transaction that each test's own is nested in."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield stage.set_all(clock.now())
        transaction.set_rollback(True)


@pytest.fixture
def scene(_set: Scene, db: None) -> Scene:
    """One of each: requests in every state, a live and an ended session, a review that is due."""
    return _set


@pytest.fixture
def enter() -> Enter:
    """`enter("rita")`: a browser in which Rita has logged in with both factors; "nobody" has not."""
    return browser_of


def browser_of(username: str) -> Client:
    client = Client()
    if username == "nobody":
        return client
    person = stage.person(username)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    session["otp_device_id"] = TotpFactor.objects.get(user=person).persistent_id
    session.save()
    return client
