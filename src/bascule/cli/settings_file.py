"""Finding and reading config.yaml, and what follows from where it lies."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bascule.model.config_yaml import parse_settings
from bascule.model.settings import Settings

log = logging.getLogger("bascule.supervisor")


@dataclass(frozen=True, slots=True)
class Configured:
    """`folder` holds config.yaml (the present directory without one); `profile` is APISIX_PROFILE."""

    settings: Settings
    file: str
    folder: Path
    profile: str

    @property
    def home(self) -> Path:
        """Where relative log paths start: as in APISIX beside `conf/`, else the folder itself."""
        return self.folder.parent if self.folder.name == "conf" else self.folder

    @property
    def resources_path(self) -> Path:
        """The standalone file, used or not."""
        return self.folder / f"apisix{self.profile}.{'json' if self.settings.provider == 'json' else 'yaml'}"

    def note_unused_file(self) -> None:
        """A warning when there is a standalone file, and something else holds the resources without a word about it."""
        provider, role = self.settings.provider, self.settings.deployment.role
        said = "config_provider" in getattr(self.settings.deployment, f"role_{role}").model_fields_set
        if provider in ("sqlite", "etcd") and not said and self.resources_path.exists():
            log.warning(
                "%s is not used: the resources are in %s; deployment.role_%s.config_provider: yaml would serve it",
                self.resources_path,
                "the embedded store" if provider == "sqlite" else "etcd",
                role,
            )

    @property
    def store_folder(self) -> Path:
        """Of the embedded store and of what is generated."""
        return self.home / self.settings.bascule.store.path

    @property
    def user_plugins(self) -> tuple[str, ...]:
        """As the registry takes them: files as absolute paths, modules by name."""
        named = self.settings.bascule.plugins
        return tuple(str((self.folder / p).resolve()) if p.endswith(".py") else p for p in named)

    def allow_imports(self) -> None:
        """Users' modules beside config.yaml can be imported; installed ones of the same name come first."""
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))


def read_settings(config: Path | None, environ: Mapping[str, str] = os.environ) -> Configured:
    """`config`, or else config.yaml or conf/config.yaml here, or else the defaults. Raises ConfigRefused, OSError."""
    profile = f"-{environ['APISIX_PROFILE']}" if environ.get("APISIX_PROFILE") else ""
    if config is None:
        names = (f"config{profile}.yaml", f"conf/config{profile}.yaml")
        config = next((Path(name) for name in names if Path(name).exists()), None)
    if config is None:
        return Configured(parse_settings(b"", None, environ), "config.yaml", Path.cwd(), profile)
    settings = parse_settings(config.read_bytes(), str(config), environ)
    return Configured(settings, str(config), config.resolve().parent, profile)
