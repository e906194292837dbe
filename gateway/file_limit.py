"""How many files this process may have open."""

from __future__ import annotations

import resource


def raise_file_limit() -> None:
    """Allow as many open files as may be: every connection, segment and blob that is read is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
