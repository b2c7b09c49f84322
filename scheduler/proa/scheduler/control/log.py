"""The controller's log: a JSON object a line on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

LOGGER: Final = logging.getLogger("proa.scheduler")
_FIELDS: Final = "proa_fields"


class Lines(logging.Formatter):
    """A record as a JSON object: time, level, message, and what else is known."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        said |= getattr(record, _FIELDS, {})
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


def to_stderr(level: str = "INFO") -> None:
    """Write the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    LOGGER.handlers[:] = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(level)


def info(message: str, **fields: object) -> None:
    """Tell what is in order."""
    LOGGER.info(message, extra={_FIELDS: fields})


def warning(message: str, **fields: object) -> None:
    """Tell what somebody may want to look at."""
    LOGGER.warning(message, extra={_FIELDS: fields})
