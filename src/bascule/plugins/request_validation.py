"""request-validation: headers and body against JSON Schema, before anything else sees the request."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl

from pydantic import Field, model_validator

from bascule.plugin import BodyTooLarge, Config, Host, Plugin, Request, Response
from bascule.plugin.kit.json_schema import Schema, SchemaConfig

URLENCODED = "application/x-www-form-urlencoded"


class RequestValidationConfig(Config):
    header_schema: SchemaConfig | None = None
    body_schema: SchemaConfig | None = None
    rejected_code: Annotated[int, Field(ge=200, le=599)] = 400
    rejected_msg: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    max_req_body_size: Annotated[int, Field(ge=1)] = 64 << 20

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.header_schema is None and self.body_schema is None:
            raise ValueError('"header_schema" or "body_schema" is required')
        return self
