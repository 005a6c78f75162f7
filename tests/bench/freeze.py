"""`python -m tests.bench.freeze [--json FILE]`: how long until a freeze is felt, and until what was held has gone on."""

from __future__ import annotations

from tests.bench import stage

if __name__ == "__main__":
    stage.perform("tests.bench.freezes", __doc__)
