"""Which discoveries there are, and whether the section `discovery` of config.yaml can be used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from bascule.control.discovery.discovery import Discovery, DiscoveryConfig
from bascule.errors.config_error import ConfigError, ConfigRefused
from bascule.errors.sentences import nearest, sentences

BUILT_IN = {
    "consul": "bascule.control.discovery.consul:Consul",
    "consul_kv": "bascule.control.discovery.consul_kv:ConsulKv",
    "kubernetes": "bascule.control.discovery.kubernetes:Kubernetes",
    "eureka": "bascule.control.discovery.eureka:Eureka",
    "nacos": "bascule.control.discovery.nacos:Nacos",
    "dns": "bascule.control.discovery.dns:Dns",
    "file": "bascule.control.discovery.file:File",
}
NOT_SERVED = {"tars": "service discovery of Tars isn't served; list the nodes, or write a discovery of your own"}
CLASS = "class"  # of a section: where a user's own discovery is


class _Refusal(Exception):
    """(path under the section, sentence) of each fault."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(*faults)
        self.faults = faults


def load(type: str, section: Any) -> tuple[type[Discovery[Any]], DiscoveryConfig]:
    """The class and its configuration. Raises ConfigRefused."""
    root = f"$.discovery.{type}"
    try:
        found, given = _class_of(type, section)
        return found, _validated(found, given)
    except _Refusal as refusal:
        raise ConfigRefused(
            [ConfigError("", None, root + path, sentence) for path, sentence in refusal.faults]
        ) from None


def check(section: Mapping[str, Any], file: str | None, folder: str = "") -> None:
    """Whether all that is configured can be used; a user's own modules lie in `folder`. Raises ConfigRefused with all
    faults."""
    if folder and folder not in sys.path:
        sys.path.append(folder)
    errors: list[ConfigError] = []
    for type, inner in section.items():
        try:
            load(type, inner)
        except ConfigRefused as refused:
            errors += [ConfigError("", None, e.path, e.message, file) for e in refused.errors]
    if errors:
        raise ConfigRefused(errors)


def _class_of(type: str, section: Any) -> tuple[type[Discovery[Any]], Any]:
    if isinstance(section, dict) and CLASS in section:
        where = section[CLASS]
        if not isinstance(where, str) or where.count(":") != 1:
            raise _Refusal((".class", 'must name a module and a class in it, as in "our_registry:Registry"'))
        return _imported(where), {key: value for key, value in section.items() if key != CLASS}
    if type in NOT_SERVED:
        raise _Refusal(("", NOT_SERVED[type]))
    if type not in BUILT_IN:
        sentence = f'there is no discovery "{type}"{nearest(type, sorted(BUILT_IN))}; "class" names one of your own'
        raise _Refusal(("", sentence))
    return _imported(BUILT_IN[type]), section


def _imported(where: str) -> type[Discovery[Any]]:
    module, _, name = where.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:
        raise _Refusal((".class", f"{module} can't be imported: {type(error).__name__}: {error}")) from None
    if not (isinstance(found, type) and issubclass(found, Discovery)):
        raise _Refusal((".class", f"{where} is no class derived from Discovery"))
    if not found.tells_all() and found.watch is Discovery.watch:
        raise _Refusal((".class", f"{where} has neither watch nor watch_all"))
    return found


def _validated(found: type[Discovery[Any]], given: Any) -> DiscoveryConfig:
    given = {} if given is None else given
    try:
        return found.Config.model_validate(given)
    except ValidationError as error:
        told = sentences(error, given, found.Config, "")
        raise _Refusal(*told) from None
