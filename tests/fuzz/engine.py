"""One target under atheris (libFuzzer for Python): ``python -m tests.fuzz.engine TARGET [libFuzzer's options] CORPUS``.

A process of its own for each target: libFuzzer ends the process it runs in.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

# Before the first import of what is to be watched: atheris rewrites modules as they are loaded.
with atheris.instrument_imports(include=["gateway", "mst"], enable_loader_override=False):
    from tests.fuzz.all import TARGETS


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

    def run(data: bytes) -> None:
        target(data)

    atheris.Setup([sys.argv[0], f"-dict={dictionary}", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
