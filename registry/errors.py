"""The base of this package's errors, so that a caller can catch all of them; the leaves stand beside the code."""

from __future__ import annotations


class RegistryError(Exception):
    """Base of every error this package raises on purpose."""
