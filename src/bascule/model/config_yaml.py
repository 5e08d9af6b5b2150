"""The text of a config.yaml as Settings, with every error at its line, and the keys that mean nothing here named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bascule.errors.config_error import ConfigError, ConfigRefused
from bascule.errors.sentences import json_path, sentences
from bascule.model.ignored_settings import IgnoredKey, take_ignored
from bascule.model.json_path import parts
from bascule.model.settings import Settings
from bascule.model.yaml_document import YamlDocument, YamlRefused

ETCD_HOST = "APISIX_DEPLOYMENT_ETCD_HOST"


def parse_settings(data: bytes, file: str | None, environ: Mapping[str, str]) -> Settings:
    """What the text of a config.yaml says; b"" gives the defaults. Raises ConfigRefused with all errors."""
    try:
        document = YamlDocument(data, environ)
    except YamlRefused as refused:
        raise ConfigRefused(
            ConfigError("", None, path, text, file, line) for line, path, text in refused.faults
        ) from None

    def refused_at(path: tuple[str | int, ...], sentence: str) -> ConfigRefused:
        return ConfigRefused([ConfigError("", None, json_path(path), sentence, file, document.line(path))])

    given = document.value
    if given is not None and not isinstance(given, dict):
        raise refused_at((), "must be a mapping of sections")
    # A section that is there with nothing in it (everything below commented out) is as good as absent.
    given = {key: value for key, value in (given or {}).items() if value is not None}
    if ETCD_HOST in environ:
        hosts = environ[ETCD_HOST]
        try:
            listed = json.loads(hosts)
        except ValueError:
            raise refused_at((), f"environment variable {ETCD_HOST}: must be a JSON list of URLs") from None
        deployment = given.get("deployment") or {}
        if isinstance(deployment, dict):
            given["deployment"] = deployment | {"etcd": (deployment.get("etcd") or {}) | {"host": listed}}
    known, ignored = take_ignored(given)
    try:
        settings = Settings.model_validate(_without_empty(known))
    except ValidationError as error:
        errors = [
            ConfigError("", None, path, sentence, file, document.line(parts(path)))
            for path, sentence in sentences(error, known, Settings)
        ]
        raise ConfigRefused(sorted(errors, key=lambda e: e.line or 0)) from None
    attr = {name: attr for name, attr in (given.get("plugin_attr") or {}).items() if attr}
    return settings.noted(ignored + _dormant(settings), attr)


def _dormant(settings: Settings) -> tuple[IgnoredKey, ...]:
    """What isn't done though the settings, or their defaults, ask for it."""
    found = []
    if settings.apisix.proxy_mode != "http":
        found.append(IgnoredKey("apisix.proxy_mode", "TCP and UDP proxying isn't here yet: only http is served"))
    return tuple(found)


def _without_empty(value: Any) -> Any:
    """Without the keys that hold nothing: YAML's way to leave a default."""
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner is not None}
    return value
