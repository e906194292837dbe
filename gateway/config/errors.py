"""The one error of the configuration."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration is refused; the message names the file and line, variable or flag, and what is allowed."""
