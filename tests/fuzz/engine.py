"""One target under atheris (libFuzzer for Python): ``python -m tests.fuzz.engine TARGET [libFuzzer's options] CORPUS``.

A process of its own for each target: libFuzzer ends the process it runs in.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

import atheris

# Before the first import of what is to be watched: atheris rewrites modules as they are loaded.
with atheris.instrument_imports(include=["gateway", "mst", "registry"], enable_loader_override=False):
    from tests.fuzz.all import TARGETS

DAY_SECONDS = 24 * 60 * 60
INPUT_SECONDS_MAX = 30
"""How long one input may be computed on.  Of processor time: a machine that stands still is no finding."""


class TooSlow(BaseException):
    """An input took too long; nothing that a parser catches."""


def _too_slow(signum: int, frame: FrameType | None) -> None:
    raise TooSlow(f"more than {INPUT_SECONDS_MAX} s for one input")


def main() -> None:
    """Hand over to libFuzzer."""
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    corpus = Path(options[-1])
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = corpus.with_suffix(".dict")
    escaped = ("".join(f"\\x{byte:02x}" for byte in token) for token in target.tokens)
    dictionary.write_text("".join(f'"{token}"\n' for token in escaped))

    signal.signal(signal.SIGVTALRM, _too_slow)

    def run(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, INPUT_SECONDS_MAX)
        target(data)

    # libFuzzer's own limit counts time that the process was not allowed to run, so it is out of reach.
    atheris.Setup([sys.argv[0], f"-dict={dictionary}", f"-timeout={DAY_SECONDS}", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
