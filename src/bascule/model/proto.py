"""A protobuf definition: source text, or a base64 descriptor set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Resource


class Proto(Resource):
    content: Annotated[str, Strict(), Field(min_length=1, max_length=1048576)]
