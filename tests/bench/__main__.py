"""`python -m tests.bench`: the gateway beside OpenSSH, in one run on one machine, as tables of ratios.

--json FILE                     keep the raw numbers
--from FILE --markdown PAGE     measure nothing: put the tables of kept numbers into PAGE, between its markers
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- tables: python -m tests.bench -->", "<!-- end of tables -->"
OUTSIDE = dict(os.environ)
"""As it was before the throwaway installation: each part that is a program of its own builds one of its own."""
PARTS = ("plea", "ways", "files", "crowd", "kill", "attack", "trail", "watch", "replay", "pages", "search")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--keys", type=int, default=400)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part of it; may be given again")
    parser.add_argument("--json", type=Path, help="keep the raw numbers here")
    parser.add_argument(
        "--from", dest="kept", type=Path, help="numbers that --json kept: nothing is measured"
    )
    parser.add_argument("--markdown", type=Path, help="put the tables into this page")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    from tests.bench import table

    kept = json.loads(options.kept.read_text()) if options.kept else measured(options)
    if kept["numbers"]:
        print("\n" + table.show(kept["numbers"]))
    if options.json:
        options.json.write_text(json.dumps(kept, indent=None, separators=(",", ":")) + "\n")
    if options.markdown:
        page = options.markdown.read_text()
        head, _, rest = page.partition(BEGIN)
        tail = rest.partition(END)[2]
        options.markdown.write_text(f"{head}{BEGIN}\n\n{table.markdown(kept)}\n\n{END}{tail}")


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All that was asked for: facts of the run, numbers by way and measure, and what parts of their own said."""
    parts = options.only or PARTS
    kept: dict[str, Any] = {"facts": facts(options), "numbers": {}, "texts": {}}
    if "plea" in parts:
        from tests.bench import plea

        # A code counts once and lives for 30 s: more rounds would mostly wait for codes.
        kept["texts"]["From request to shell"] = plea.table(min(options.rounds, 3))
        print("\n" + kept["texts"]["From request to shell"])
    if "ways" in parts:
        from tests.bench import ways

        with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
            kept["numbers"] = ways.run(
                Path(folder), rounds=options.rounds, megabytes=options.megabytes, keys=options.keys
            )
    if "files" in parts and importlib.util.find_spec("tests.bench.files"):
        found = by_itself("files", "--rounds", str(min(options.rounds, 3)), "--megabytes", "100")
        for way, measures in found[0].items():
            rates = {name: values for name, values in measures.items() if not name.startswith("cpu_")}
            kept["numbers"].setdefault(way, {}).update(rates)
    by_themselves = (
        ("crowd", "Crowds"),
        ("kill", "From a kill to the client's end"),
        ("attack", "A login under attack"),
        ("trail", "The audit trail"),
        ("watch", "Watched live"),
        ("replay", "Replay"),
        ("pages", "Pages"),
        ("search", "Search"),
    )
    for part, title in by_themselves:
        if part in parts:
            kept[part], kept["texts"][title] = by_itself(part)
            print("\n" + kept["texts"][title])
    return kept


def by_itself(part: str, *options: str) -> tuple[Any, str]:
    """A part that is a program of its own: its numbers and what it printed."""
    with tempfile.TemporaryDirectory(prefix="breakglass-bench-") as folder:
        numbers = Path(folder) / "numbers"
        words = [sys.executable, "-m", f"tests.bench.{part}", *options, "--json", str(numbers)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True, env=OUTSIDE)
        return json.loads(numbers.read_text()), done.stdout


def facts(options: argparse.Namespace) -> dict[str, str]:
    import cryptography
    import paramiko

    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0]
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = names[0].partition(":")[2].strip() if names else platform.machine()
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{os.cpu_count()} cores of {processor}, {platform.system()} {platform.release()}, loopback",
        "versions": f"Python {platform.python_version()}, paramiko {paramiko.__version__}, "
        f"cryptography {cryptography.__version__}, {said}",
        "how": f"{options.rounds} alternating rounds; each 3 prompts, {options.keys} keystrokes, "
        f"{options.megabytes} MiB each way, 19 MB of text, a way; load {os.getloadavg()[0]:.1f} at the start",
    }


if __name__ == "__main__":
    main()
