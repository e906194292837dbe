"""The server's configuration: what can be set (`model`) and where the values come from (`load`)."""

from __future__ import annotations

from gateway.config.errors import ConfigError
from gateway.config.load import load_config
from gateway.config.model import Config, Listen, TlsFiles

__all__ = ["Config", "ConfigError", "Listen", "TlsFiles", "load_config"]
