import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.cli.workplace import Workplace, offline, settings
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.ports import free_port

PET = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
PETS: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "/v1"}],
    "paths": {
        "/pets": {
            "post": {
                "operationId": "create",
                "requestBody": {"required": True, "content": {"application/json": {"schema": PET}}},
            }
        },
        "/pets/{id}": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "schema": {"type": "integer"}},
                    {"name": "q", "in": "query"},
                ]
            }
        },
    },
}


def test_requests_are_checked_as_the_document_says(
    gateway: Callable[..., Gateway], nginx: Callable[[str], Nginx]
) -> None:
    upstream = nginx("location / { return 200 'ok'; }")
    server = gateway(config=settings(free_port()))
    place = Workplace(server.directory)
    file = place.write(PETS, "pets.yaml")
    done = place.run("import", "openapi", file, "--upstream", f"http://{upstream.address}", "--apply", "--yes")
    assert (done.returncode, done.stderr) == (0, 'note: GET /pets/{id}: the query parameter "q" is not checked\n')
    assert done.stdout.splitlines()[-1].startswith("created 3, ")

    def status(method: str, path: str, body: Any = None) -> int:
        with server.client() as client:
            data = b"" if body is None else json.dumps(body).encode()
            headers = [("Content-Type", "application/json")] if body is not None else []
            return client.request(method, path, headers=headers, body=data).status

    assert status("POST", "/v1/pets", {"name": "Rex"}) == 200
    assert status("POST", "/v1/pets", {"name": 1}) == 400
    assert status("POST", "/v1/pets") == 400
    assert status("GET", "/v1/pets/7") == 200
    assert status("GET", "/v1/pets/seven") == 404
    assert status("GET", "/v1/pets/7/more") == 404
    assert status("DELETE", "/v1/pets/7") == 404
    again = place.run("import", "openapi", file, "--upstream", f"http://{upstream.address}", "--apply", "--yes")
    assert again.stdout == "nothing to do\n"


def test_the_document_is_printed_as_the_router_takes_it(tmp_path: Path) -> None:
    place = offline(tmp_path / "p", apisix={"router": {"http": "radixtree_uri_with_parameter"}})
    file = place.write(json.dumps(PETS), "pets.json")
    printed = place.ok("import", "openapi", file, "--upstream", "http://127.0.0.1:9", "--name", "zoo")
    document = yaml.safe_load(printed)
    assert [route["uri"] for route in document["routes"]] == ["/v1/pets", "/v1/pets/:id"]
    assert document["services"][0]["id"] == "zoo"
    piped = place.run(
        "import", "openapi", "-", "--upstream", "http://h:9", "--format", "json", input=yaml.safe_dump(PETS)
    )
    assert json.loads(piped.stdout)["services"][0]["upstream"]["nodes"] == {"h:9": 1}
    place.write(printed, "zoo.yaml")
    place.ok("apply", "zoo.yaml", "--yes")


def test_refusals(tmp_path: Path) -> None:
    place = offline(tmp_path / "p")
    for text, error in (
        ("swagger: '2.0'", 'bascule: x.yaml: "openapi" must say 3.0.x or 3.1.x (Swagger 2: convert it first)'),
        ("a: [", "bascule: x.yaml: line 2: "),
        (
            yaml.safe_dump(PETS),
            "bascule: x.yaml: servers[0]: '/v1' names no address; say where the API is with --upstream",
        ),
    ):
        done = place.run("import", "openapi", place.write(text, "x.yaml"))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(error), done.stderr
    assert place.run("import", "openapi", "nowhere.yaml").stderr.startswith("bascule: cannot read nowhere.yaml")
