"""`python -m tests.services.old_notices`: notices with and without a person, taken back to the release before and forth.

Run in a process of its own, on an empty database of its own.
"""

from __future__ import annotations

import json
from typing import Any

import django

OLD, NEW = "0008_spent_challenges", "0010_one_truth_of_notices"


def main() -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", "breakglass", NEW, verbosity=0)
    _fill(_models(NEW))
    call_command("migrate", "breakglass", OLD, verbosity=0)
    old = _subjects(_models(OLD))
    call_command("migrate", "breakglass", NEW, verbosity=0)
    new = _subjects(_models(NEW))
    deliveries = list(_models(NEW).get_model("breakglass", "NoticeDelivery").objects.values_list("problem"))
    print(json.dumps({"old": old, "new": new, "deliveries": deliveries}))


def _models(name: str) -> Any:
    """The models as they were after that migration."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    return MigrationLoader(connection).project_state(("breakglass", name)).apps


def _fill(models: Any) -> None:
    from breakglass import clock

    person = models.get_model("breakglass", "Person").objects.create(
        username="rita", email="rita@example.org"
    )
    route = models.get_model("breakglass", "NoticeRoute").objects.create(
        name="control room", kind="slack", url=b"", created_at=clock.now()
    )
    notices = models.get_model("breakglass", "Notice").objects
    deliveries = models.get_model("breakglass", "NoticeDelivery").objects
    for whose, way, subject in ((person, None, "Rita's"), (None, route, "the house's")):
        row = notices.create(
            person=whose, topic="grant", subject=subject, body="", path="/", created_at=clock.now()
        )
        deliveries.create(notice=row, route=way, problem=subject)


def _subjects(models: Any) -> list[str]:
    return list(models.get_model("breakglass", "Notice").objects.values_list("subject", flat=True))


if __name__ == "__main__":
    main()
