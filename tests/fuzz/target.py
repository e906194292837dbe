"""What a fuzz target is: a parser, what has to hold of everything it accepts, and inputs to begin with.

The targets are in the modules that `all.py` names.  Two drivers share them: `test_targets.py` damages their seeds with
Hypothesis in every test run, `make fuzz` gives them to atheris.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    Attributes:
        parse: the parser; refuses an input by raising ``declared``, and raises nothing else.
        declared: the one exception that is a refusal.
        check: fails if what was accepted breaks a promise; called with the input and the parser's result.
        refused: fails if a refusal breaks a promise.
        seeds: inputs that are accepted.
        tokens: pieces that mean something to the parser.
    """

    parse: Callable[[bytes], Any]
    declared: type[Exception]
    check: Callable[[bytes, Any], None]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...] = ()
    refused: Callable[[Exception], None] = lambda _: None

    def __call__(self, data: bytes) -> bool:
        """Parse ``data`` and check the outcome; returns whether it was accepted."""
        try:
            accepted = self.parse(data)
        except self.declared as refusal:
            self.refused(refusal)
            return False
        # Outside the try: even the declared exception would be a failure here.
        self.check(data, accepted)
        return True
