"""`python -m tests.bench.pages [--json FILE]`: how long each page takes on the embedded database with 10,000 grants behind it.

Every page of `tests.web.test_access`, by whoever sees most of it, through Django's own handler (no network, no proxy); 300 ms
are promised. Beside the time that passed stands the processor's, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import installation

GRANTS, ROUNDS, WANTED_MS = 10_000, 9, 300
# As long back as they go: everything that there is in one picture.
LONGEST = (("vera", "/trends/?days=365"), ("otto", "/sessions/?page=500"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pages", description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    parser.add_argument("--grants", type=int, default=GRANTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        os.environ.update(installation.settings_in(Path(folder)))
        os.environ["DJANGO_SETTINGS_MODULE"] = "breakglass.settings"
        found = measure(options.grants)
    print(table(found, options.grants))
    if options.json:
        options.json.write_text(json.dumps(found))


def measure(grants: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of each answer, passed and of the processor, by who asked for which page."""
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    # Files are the web server's; whether this installation collected them is not the question.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.ALLOWED_HOSTS = ["*"]
    settings.SECURE_SSL_REDIRECT = False
    call_command("migrate", verbosity=0)
    from breakglass import clock
    from tests.support.many import past
    from tests.web import stage, test_access, test_many_rows
    from tests.web.conftest import browser_of

    scene = stage.set_all(clock.now())
    past(grants, clock.now(), reviews_due=50)
    clients = {who: browser_of(who) for who in test_many_rows.SEERS}
    found: dict[str, list[tuple[float, float]]] = {}
    for who, path in [*test_many_rows.pages(), *LONGEST]:
        address = test_access.path_of(path, scene)
        found[f"{path} ({who})"] = [_milliseconds(clients[who], address) for _ in range(ROUNDS + 1)][1:]
    return found


def _milliseconds(client: Any, address: str) -> tuple[float, float]:
    began, worked = time.monotonic(), time.process_time()
    answer = client.get(address)
    assert answer.status_code == 200, (address, answer.status_code)
    return (time.monotonic() - began) * 1000, (time.process_time() - worked) * 1000


def table(found: dict[str, list[tuple[float, float]]], grants: int) -> str:
    """The slowest pages first."""
    rows = []
    for page, both in found.items():
        times, work = (sorted(column) for column in zip(*both, strict=True))
        rows.append((times[len(times) // 2], times[-1], work[len(work) // 2], page))
    rows.sort(reverse=True)
    load = os.getloadavg()[0]
    lines = [
        f"pages with {grants:,} grants behind them, embedded database, {ROUNDS} times each, ms; load at the end {load:.1f}"
    ]
    lines += [
        f"  p50 {middle:7.1f}  worst {worst:7.1f}  processor {work:7.1f}  {page}"
        for middle, worst, work, page in rows[:15]
    ]
    late = sum(worst > WANTED_MS for _, worst, _, _ in rows)
    lines.append(f"  {len(rows)} pages; {late} of them took longer than {WANTED_MS} ms at any time")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
