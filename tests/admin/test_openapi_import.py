import os
from typing import Any

import pytest

from bascule.admin.openapi_import import Imported, import_openapi
from bascule.admin.openapi_schema import OpenApiRefused
from bascule.admin.validator import Validator
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.store.standalone import read_standalone

PETS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pet Store", "version": "1"},
    "servers": [{"url": "http://pets.example.com/v1"}],
    "paths": {
        "/pets": {
            "get": {"operationId": "listPets", "parameters": [{"name": "limit", "in": "query"}]},
            "post": {
                "operationId": "createPet",
                "summary": "One more",
                "parameters": [
                    {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "integer"}},
                    {"name": "Accept", "in": "header", "schema": {"type": "string"}},
                ],
                "requestBody": {"$ref": "#/components/requestBodies/Pet"},
            },
        },
        "/pets/{petId}/photo.{kind}": {"get": {}},
        "/pets/{petId}": {
            "parameters": [{"$ref": "#/components/parameters/PetId"}],
            "delete": {},
            "put": {"requestBody": {"content": {"application/json": {"schema": {}}}}},
        },
    },
    "components": {
        "parameters": {"PetId": {"name": "petId", "in": "path", "required": True, "schema": {"type": "integer"}}},
        "requestBodies": {
            "Pet": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
            }
        },
        "schemas": {"Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
    },
}


def changed(**over: Any) -> dict[str, Any]:
    return {**PETS, **over}


def routes(imported: Imported) -> dict[str, dict[str, Any]]:
    return {route["id"]: route for route in imported.document["routes"]}


def check(imported: Imported) -> None:
    """Everything that comes out is a resource that the gateway takes."""
    validator = Validator(Registry(), resolve=from_environment(os.environ))
    found = read_standalone(imported.document)
    assert not found.faults
    for item in found.items:
        assert validator.check(item.kind, item.id, item.value) == []


def test_a_service_and_a_route_for_each_operation() -> None:
    imported = import_openapi(PETS)
    check(imported)
    assert imported.document["services"] == [
        {
            "id": "Pet-Store",
            "name": "Pet Store",
            "upstream": {
                "type": "roundrobin",
                "scheme": "http",
                "pass_host": "node",
                "nodes": {"pets.example.com:80": 1},
            },
        }
    ]
    found = routes(imported)
    assert list(found) == [
        "Pet-Store-listPets",
        "Pet-Store-createPet",
        "Pet-Store-get-pets-petId-photo.kind",
        "Pet-Store-put-pets-petId",
        "Pet-Store-delete-pets-petId",
    ]
    assert found["Pet-Store-listPets"] == {
        "id": "Pet-Store-listPets",
        "name": "GET /pets",
        "uri": "/v1/pets",
        "methods": ["GET"],
        "service_id": "Pet-Store",
    }
    assert found["Pet-Store-createPet"]["desc"] == "One more"
    assert found["Pet-Store-createPet"]["plugins"]["request-validation"] == {
        "header_schema": {
            "type": "object",
            "properties": {"X-Tenant": {"type": "string", "pattern": "^-?[0-9]+$"}},
            "required": ["X-Tenant"],
        },
        "body_schema": {
            "allOf": [{"$ref": "#/$defs/Pet"}],
            "$defs": {"Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        },
    }
    assert imported.notes == [
        'GET /pets: the query parameter "limit" is not checked',
        "PUT /pets/{petId}: the body is not checked, since it may be left out",
    ]


@pytest.mark.parametrize(
    ("router", "by_id", "photo"),
    [
        ("radixtree_host_uri", ("/v1/pets/*", "^/v1/pets/-?[0-9]+$"), "/v1/pets/*"),
        ("radixtree_uri_with_parameter", ("/v1/pets/:petId", "^/v1/pets/-?[0-9]+$"), "/v1/pets/*"),
    ],
)
def test_paths_as_the_router_takes_them(router: str, by_id: tuple[str, str], photo: str) -> None:
    found = routes(import_openapi(PETS, router=router))
    route = found["Pet-Store-delete-pets-petId"]
    assert (route["uri"], route["vars"]) == (by_id[0], [["uri", "~~", by_id[1]]])
    route = found["Pet-Store-get-pets-petId-photo.kind"]
    assert (route["uri"], route["vars"][0][2]) == (photo, r"^/v1/pets/[^/]+/photo\.[^/]+$")


def test_a_parameter_of_any_text_needs_no_condition_where_the_router_knows_parameters() -> None:
    document = changed(paths={"/pets/{name}": {"get": {}}})
    [route] = routes(import_openapi(document, router="radixtree_uri_with_parameter")).values()
    assert route["uri"] == "/v1/pets/:name"
    assert "vars" not in route


def test_servers() -> None:
    two = [{"url": "http://a.test:8080/api/"}, {"url": "http://b.test/api"}, {"url": "https://c.test/api"}]
    imported = import_openapi(changed(servers=two))
    assert imported.document["services"][0]["upstream"]["nodes"] == {"a.test:8080": 1, "b.test:80": 1}
    assert imported.notes[0].startswith("servers: only those")
    variables = [{"url": "http://{host}/{v}", "variables": {"host": {"default": "x.test"}, "v": {"default": "2"}}}]
    imported = import_openapi(changed(servers=variables))
    assert imported.document["routes"][0]["uri"] == "/2/pets"
    secure = import_openapi(changed(servers=[{"url": "https://pets.example.com"}])).document["services"][0]["upstream"]
    assert (secure["scheme"], secure["nodes"]) == ("https", {"pets.example.com:443": 1})
    for servers in ([], None, [{"url": "/v2"}], [{"url": "http://{host}/"}]):
        with pytest.raises(OpenApiRefused, match="--upstream"):
            import_openapi(changed(servers=servers))


def test_an_upstream_that_is_given() -> None:
    imported = import_openapi(changed(servers=[{"url": "/v2"}]), upstream="http://127.0.0.1:9000", name="pets")
    assert imported.document["services"][0]["id"] == "pets"
    assert imported.document["services"][0]["upstream"]["nodes"] == {"127.0.0.1:9000": 1}
    assert imported.document["routes"][0]["uri"] == "/v2/pets"
    assert import_openapi(PETS, upstream="http://[::1]:1/own").document["routes"][0]["uri"] == "/own/pets"


def test_bodies_of_several_kinds() -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Pet"}}
    json_kinds = {"application/json": schema, "application/merge-patch+json; v=1": {"schema": {"type": "array"}}}

    def post(content: Any) -> Imported:
        return import_openapi(changed(paths={"/p": {"post": {"requestBody": {"required": True, "content": content}}}}))

    imported = post(json_kinds)
    check(imported)
    assert len(imported.document["routes"][0]["plugins"]["request-validation"]["body_schema"]["anyOf"]) == 2
    assert "something else than JSON" in post({"application/json": schema, "text/xml": {}}).notes[0]
    assert "plugins" not in post({"application/json": {}}).document["routes"][0]


def test_ids_are_short_unique_and_legal() -> None:
    paths = {f"/{'ä' * 90}{number}": {"get": {}} for number in range(3)} | {"/": {"get": {}}}
    imported = import_openapi(changed(paths=paths, info={"title": "Ünïcode  /API/ " * 10}))
    check(imported)
    assert len(routes(imported)) == 4


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "an OpenAPI document is an object"),
        ({"swagger": "2.0"}, "Swagger 2: convert it first"),
        (changed(openapi="4.0"), "must say 3.0.x or 3.1.x"),
        (changed(paths={}), '"paths" names no path'),
        (changed(paths={"pets": {}}), 'paths: "pets" must begin with "/"'),
        (changed(paths={"/p": {"get": 1}}), "GET /p: must be an object"),
        (changed(paths={"/p": {"get": {"parameters": [{}]}}}), 'GET /p: a parameter needs a "name"'),
        (changed(paths={"/p": {"get": {"parameters": {}}}}), 'GET /p: "parameters" must be a list'),
        (changed(servers=[{}]), 'servers\\[0\\]: needs a "url"'),
        (changed(servers=[{"url": "http://x:y/"}]), "servers\\[0\\]: "),
    ],
)
def test_refusals(document: Any, sentence: str) -> None:
    with pytest.raises(OpenApiRefused, match=sentence):
        import_openapi(document)


def test_notes_on_what_is_passed_over() -> None:
    imported = import_openapi(changed(paths={"/p": {"servers": []}, "/q": {"get": {}}}))
    assert imported.notes == ["/p: servers of a single path are not taken", "/p: names no operation"]
