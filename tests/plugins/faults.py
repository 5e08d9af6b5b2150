"""What is wrong with a plugin's configuration, as `bascule check` tells it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bascule.errors.sentences import sentences
from bascule.plugin.plugin import Config, Plugin


def faults(plugin: type[Plugin], conf: Mapping[str, Any], model: type[Config] | None = None) -> list[tuple[str, str]]:
    """(JSON path, sentence) of each fault; `model` instead of the plugin's Config, e.g. its Metadata."""
    model = model or plugin.Config
    try:
        model.model_validate(dict(conf))
    except ValidationError as error:
        return sentences(error, conf, model)
    return []


def fault_paths(plugin: type[Plugin], conf: Mapping[str, Any], model: type[Config] | None = None) -> list[str]:
    return [path for path, _ in faults(plugin, conf, model)]
