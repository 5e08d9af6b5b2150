"""What a field of a service's GraphQL schema costs: read by the plugin graphql-limit-count."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from bascule.model.attributes import Id, Model, Time

Factor = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Arguments = Annotated[tuple[Annotated[str, Strict(), Field(min_length=1)], ...], Field(min_length=1)]


class GraphqlCostDecoration(Model):
    """`field_path`: "Query.products". The cost is multiplied by `mul_value` and the arguments' values, and added to."""

    id: Id | None = None
    service_id: Id | None = None
    field_path: Annotated[str, Strict(), Field(pattern=r"^[_A-Za-z][_0-9A-Za-z]*(\.[_A-Za-z][_0-9A-Za-z]*)*$")]
    add_value: Factor | None = None
    mul_value: Factor = 1
    add_arguments: Arguments | None = None
    mul_arguments: Arguments | None = None
    create_time: Time | None = None
    update_time: Time | None = None
