"""`python -m tests.bench.replay [--day] [--json FILE]`: how soon a recording of 49 MB and 400,000 events is ready in a real
Chromium, and how long a seek takes; and (--day) one of a day, which is read in parts."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page

ROUNDS = 5
READY_MS, SEEK_MS = 1500, 1000
SEEKS = (0.98, 0.02, 0.5, 0.75, 0.25, 0.999, 0.0, 0.6)

WAIT_READY = """async () => {
  const section = document.getElementById('replay');
  while (section.dataset.state === 'loading') await new Promise(done => setTimeout(done, 5));
  const nav = performance.getEntriesByType('navigation')[0];
  const began = performance.getEntriesByType('resource').find(one => one.name.endsWith('/viewing/')).startTime;
  return {state: section.dataset.state, page: performance.now() - nav.responseStart, recording: performance.now() - began};
}"""
SEEK = """async (share) => {
  const slider = document.getElementById('seek'), terminal = Replay.Terminal.prototype, draw = terminal.draw;
  let drawn;
  terminal.draw = function () { drawn = draw.apply(this, arguments); return drawn; };
  const began = performance.now();
  slider.value = String(Number(slider.max) * share);
  slider.dispatchEvent(new Event('input'));
  await drawn;
  await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  terminal.draw = draw;
  return performance.now() - began;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replay", description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    parser.add_argument("--day", action="store_true", help="a recording of a day and 500 MB, too")
    options = parser.parse_args()
    names = ["big", "day"] if options.day else ["big"]
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        found = measure(Path(folder), names)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found))


def measure(folder: Path, names: list[str]) -> dict[str, Any]:
    """Milliseconds, by recording: `page` and `recording` (until ready, from the page's first byte and from the moment the
    player asked for the recording), `seek` each; and the heap of the page in bytes."""
    from tests.support import playhouse
    from tests.support.browser import chromium

    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    with playhouse.opened(folder, *names) as house, chromium() as browser:
        for name in names:
            numbers: dict[str, list[float]] = {"page": [], "recording": [], "seek": [], "heap": []}
            for number in range(ROUNDS + 1):
                context = house.visitor(browser, "vera", viewport={"width": 1440, "height": 900})
                context.set_default_timeout(180_000)
                page = context.new_page()
                page.goto(house.address(name))
                once = _once(page)
                context.close()
                if number:  # the first warms files and server
                    for key, values in once.items():
                        numbers[key] += values
            found[name] = numbers
    return found


def _once(page: Page) -> dict[str, list[float]]:
    ready = page.evaluate(WAIT_READY)
    assert ready["state"] == "ready", ready
    seeks = [page.evaluate(SEEK, share) for share in SEEKS]
    heap = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize : 0")
    return {"page": [ready["page"]], "recording": [ready["recording"]], "seek": seeks, "heap": [heap]}


def table(found: dict[str, Any]) -> str:
    """Medians and worst cases beside what was wanted."""
    lines = [
        f"replay in Chromium, {ROUNDS} visits and {len(SEEKS)} seeks a visit, load {found['load']:.1f} at the start"
    ]
    lines.append(f"  {'recording':<28}{'':24}{'p50 ms':>9}{'worst':>9}{'wanted':>9}")
    titles = {"big": "49 MB, 400,000 events", "day": "500 MB, a day, in parts"}
    for name, title in titles.items():
        if name not in found:
            continue
        rows = (
            ("ready", "page", READY_MS),
            ("of it: the recording", "recording", 0),
            ("seek", "seek", SEEK_MS),
        )
        for row, key, wanted in rows:
            values = found[name][key]
            limit = f"{wanted:>9}" if wanted and name == "big" else ""
            lines.append(f"  {title:<28}{row:<24}{median(values):>9.0f}{max(values):>9.0f}{limit}")
        lines.append(f"  {title:<28}{'heap of the page, MB':<24}{median(found[name]['heap']) / 1e6:>9.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
