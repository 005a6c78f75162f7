"""`python -m tests.bench.crowd [--json FILE]`: crowds of live recorded sessions, and one keystroke beside bulk streams."""

from __future__ import annotations

from tests.bench import stage

if __name__ == "__main__":
    stage.perform("tests.bench.crowds", __doc__)
