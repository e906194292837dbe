"""Runs one load specification in a generator process of its own, bounded in time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench.load import GRACE_SECONDS
from bench.spec import LoadResult, LoadSpec

_STARTUP_SECONDS = 60.0
"""Starting, making bodies and signing them, and the warm-up's own grace."""


def run_in_process(spec: LoadSpec) -> LoadResult:
    """Run it; a generator that fails or overruns gives a result with no operations and an error."""
    limit = spec.warmup_s + spec.duration_s + 2 * GRACE_SECONDS + _STARTUP_SECONDS
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.load"],
            input=json.dumps(asdict(spec)),
            capture_output=True,
            text=True,
            timeout=limit,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return LoadResult(errors=1, first_error=f"the generator did not end within {limit:.0f} s")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return LoadResult(errors=1, first_error=f"the generator failed: {lines[-1]}")
    return LoadResult(**json.loads(done.stdout))
