"""Where log messages go and what they look like: one form for ours and for those of the libraries."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import Processor

_QUIET = ("alembic",)
"""Libraries whose every step is of no interest."""


def set_up_logs(level: Literal["debug", "info", "warning", "error"], form: Literal["text", "json"]) -> None:
    """Send all messages to standard error.

    Args:
        level: the least serious message that is written.
        form: "text" for people, "json" for programs, one object a line.
    """
    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor
    last: list[Processor]
    if form == "json":
        last = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        last = [renderer]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    aiohttp_log = logging.getLogger("aiohttp.server")
    aiohttp_log.filters[:] = [_shorten_bad_request]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _shorten_bad_request(record: logging.LogRecord) -> bool:
    """Give a request that is no HTTP one line of log instead of a traceback: anybody can send them."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg = f"{record.msg}: {' '.join(error.message.split())[:200]}"
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True
