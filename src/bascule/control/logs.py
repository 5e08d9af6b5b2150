"""The error log: one line format, levels by nginx's names."""

from __future__ import annotations

import logging
import os
import sys
import time
from logging.handlers import WatchedFileHandler

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "crit": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emerg": logging.CRITICAL,
}
_NAMES = {logging.WARNING: "warn", logging.CRITICAL: "crit"}


class Line(logging.Formatter):
    """`2026-11-24T07:41:05.975Z error worker 0[4711] plugin.limit-count: message`; UTC."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = f"{role}[{os.getpid()}]"

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        level = _NAMES.get(record.levelno, record.levelname.lower())
        name = record.name.removeprefix("bascule.")
        source = "" if name in ("supervisor", "worker", "root") else f" {name}"
        text = f"{at}.{int(record.msecs):03d}Z {level} {self._role}{source}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def set_up(level: str, path: str | None, role: str) -> None:
    """Sends all logging of this process to `path`, or to stderr. `role` stands in each line ("supervisor", "worker 0").

    A file that was rotated away is opened anew at the next line. Raises OSError."""
    handler: logging.Handler
    if path is None or path in ("/dev/stderr", "stderr"):
        handler = logging.StreamHandler(sys.stderr)
    else:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        handler = WatchedFileHandler(path)
    handler.setFormatter(Line(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.getLogger("asyncio").setLevel(max(LEVELS[level], logging.WARNING))
