"""The number of tests that carry an advisory's id must not shrink unnoticed."""

from __future__ import annotations

import re
from pathlib import Path

ADVISORIES_MIN = 58
_ID = re.compile(r"(?:cve_\d{4}_\d{4,}|ghsa(?:_[a-z0-9]{4}){3})")


def test_advisories_are_still_tested() -> None:
    here = Path(__file__).parent
    text = "\n".join(path.read_text() for path in here.glob("test_*.py") if path != Path(__file__))
    assert len(set(_ID.findall(text))) >= ADVISORIES_MIN
