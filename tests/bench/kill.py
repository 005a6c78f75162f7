"""`python -m tests.bench.kill [--json FILE]`: how long a kill takes until the client's process has ended."""

from __future__ import annotations

from tests.bench import stage

if __name__ == "__main__":
    stage.perform("tests.bench.kills", __doc__)
