"""`ms3t` with the bug planted that the environment names; owner and workers are forks of this process."""

from __future__ import annotations

from gateway.cli import main
from tests.crash import bugs

if __name__ == "__main__":
    bugs.plant()
    main()
