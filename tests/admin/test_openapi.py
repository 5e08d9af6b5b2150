from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bascule.admin.openapi import OpenApi
from bascule.admin.resource_kind import KINDS
from bascule.admin.schemas import Schemas
from bascule.plugin.registry import Registry
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def document() -> dict[str, Any]:
    return OpenApi(Schemas(Registry()), version="1").document


def test_every_kind_and_method_is_told() -> None:
    paths = document()["paths"]
    for kind in KINDS.values():
        told = {method.upper() for path, item in paths.items() if f"/{kind.name}" in path for method in item}
        assert told >= kind.methods
    assert set(paths["/routes"]) == {"get", "post"}
    assert set(paths["/routes/{id}"]) == {"get", "put", "patch", "delete"}
    assert set(paths["/secrets/{manager}/{id}"]) == {"get", "put", "patch", "delete"}
    assert "/consumers/{owner}/credentials/{id}" in paths


def test_the_schemas_are_schemas() -> None:
    for schema in document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_a_gateway_without_single_resources() -> None:
    paths = OpenApi(Schemas(Registry()), version="1", resources=False).document["paths"]
    assert "/configs" in paths
    assert "/routes" not in paths


def test_what_the_gateway_answers_is_as_told(gateway: Callable[..., Gateway]) -> None:
    """Random requests to every operation, each checked against the document that the gateway itself serves."""
    port = free_port()
    admin = {"admin_listen": {"ip": "127.0.0.1", "port": port}, "admin_key": [{"name": "a", "key": "k"}]}
    gateway(
        config={
            "deployment": {"role": "traditional", "role_traditional": {"config_provider": "sqlite"}, "admin": admin}
        }
    )
    url = f"http://127.0.0.1:{port}/apisix/admin"
    told = schemathesis.openapi.from_url(f"{url}/openapi.json", headers={"X-API-KEY": "k"})

    found = 0
    for result in told.get_all_operations():
        operation = result.ok()
        found += 1

        @how(
            max_examples=3,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.call_and_validate(base_url=url, headers={"X-API-KEY": "k"}, checks=CHECKS, timeout=10)

        ask()
    assert found > 50
