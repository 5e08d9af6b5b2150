"""What config.yaml and the command line come to."""

from __future__ import annotations

import dataclasses
import logging
import os
from dataclasses import dataclass

from bascule.model.engine_settings import EngineSettings
from bascule.model.settings import Settings

log = logging.getLogger("bascule.supervisor")


@dataclass(frozen=True, slots=True)
class Launch:
    """`folder`: where users' modules are looked for; `home`: where relative paths of logs start; `workers_option`: what
    the command line said of workers; `store_folder`: of what is kept for the next start."""

    settings: Settings
    workers: int
    user_plugins: tuple[str, ...]
    folder: str
    home: str
    access_log: bool = True
    workers_option: str | None = None
    store_folder: str = ""

    @property
    def error_log(self) -> str | None:
        path = self.settings.nginx_config.error_log
        return None if path is None else self._log_path(path)

    def engine(self, version: str) -> EngineSettings:
        engine = self.settings.engine(version)
        return dataclasses.replace(
            engine,
            access_log_enabled=engine.access_log_enabled and self.access_log,
            access_log_path=self._log_path(engine.access_log_path),
        )

    def _log_path(self, path: str) -> str:
        return path if path == "-" else os.path.join(self.home, path)

    def with_writable_logs(self) -> Launch:
        """Makes the logs' folders. An access log that can't be written is left out with a warning if only the default
        asks for it. Raises OSError with the file's name."""
        http = self.settings.nginx_config.http
        if not http.enable_access_log:
            return self
        path = self._log_path(http.access_log)
        try:
            _try_append(path)
        except OSError as error:
            if "access_log" in http.model_fields_set:
                raise
            log.warning("no access log: cannot write %s: %s", path, (error.strerror or "").lower())
            return dataclasses.replace(self, access_log=False)
        return self

    def note_ignored(self) -> None:
        """One line about the keys of config.yaml that mean nothing here."""
        if self.settings.ignored:
            log.warning("ignored: %s", "; ".join(map(str, self.settings.ignored)))


def _try_append(path: str) -> None:
    if path in ("-", "/dev/stdout", "/dev/stderr"):
        return
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
