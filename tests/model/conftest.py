from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bascule.errors.sentences import sentences

Told = Callable[[type[BaseModel], Any], list[str]]


@pytest.fixture
def told() -> Told:
    """(model, value) -> "path: sentence" of every error; empty when the value is fine."""

    def tell(model: type[BaseModel], value: Any) -> list[str]:
        try:
            model.model_validate(value)
        except ValidationError as error:
            return [f"{path}: {sentence}" for path, sentence in sentences(error, value, model)]
        return []

    return tell
