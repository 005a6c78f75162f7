"""`python -m tests.bench.watch [--json FILE]`: what watchers cost the person they watch, and how far behind they are."""

from __future__ import annotations

from tests.bench import stage

if __name__ == "__main__":
    stage.perform("tests.bench.watches", __doc__)
