import ssl

import pytest
from pydantic import ValidationError

from bascule.control.discovery import kubernetes as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.kubernetes import Kubernetes, KubernetesConfig
from bascule.errors.sentences import sentences
from tests.control.discovery.telling import host, play
from tests.servers.kubernetes import KubernetesServer, endpoint_slice, endpoints


@pytest.fixture(autouse=True)
def quick(monkeypatch, quick_retries):
    monkeypatch.setattr(module, "RELIST_S", 0.02)


@pytest.fixture
def server():
    found = KubernetesServer()
    yield found
    found.stop()


def conf_of(server, **more):
    where = {"schema": "https" if server.tls else "http", "host": "127.0.0.1", "port": server.port}
    return {"service": where, "client": {"token": "token"}, **more}


def of(*confs):
    value = list(confs) if len(confs) > 1 else confs[0]
    return lambda place: Kubernetes(KubernetesConfig.model_validate(value), place)


def test_endpoints_are_listed_and_watched(server):
    server.page = 1
    for name in ("a", "b", "c"):
        server.put(endpoints("ns", name, "10.0.0.1"))

    async def script(told):
        found = await told.found("ns/c:web", "10.0.0.1:80")
        assert (found.whole, len(found.nodes)) == (True, 6)
        assert found.nodes["ns/a:80"] == (DiscoveredNode("10.0.0.1", 80, 7),)
        server.put(endpoints("ns", "a", "10.0.0.1", "10.0.0.2"))
        found = await told.found("ns/a:80", "10.0.0.1:80", "10.0.0.2:80")
        assert (found.whole, sorted(found.nodes)) == (False, ["ns/a:80", "ns/a:web"])
        server.delete(endpoints("ns", "b"))
        await told.found("ns/b:web")
        server.put(endpoints("ns", "d", "10.0.0.4"))
        await told.found("ns/d:web", "10.0.0.4:80")

    play(of(conf_of(server, default_weight=7)), script)


def test_slices_are_listed_and_watched(server):
    server.put(endpoint_slice("ns", "web-1", "web", "10.0.0.1"))

    async def script(told):
        await told.found("ns/web:web", "10.0.0.1:80")
        server.put(endpoint_slice("ns", "web-2", "web", "10.0.0.2"))
        await told.found("ns/web:web", "10.0.0.1:80", "10.0.0.2:80")
        server.delete(endpoint_slice("ns", "web-1", "web"))
        await told.found("ns/web:web", "10.0.0.2:80")

    play(of(conf_of(server, watch_endpoint_slices=True)), script)


def test_a_watch_that_ends_goes_on_where_it_was(server):
    server.put(endpoints("ns", "a", "10.0.0.1"))

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")
        server.bookmark()
        server.hang_up()
        server.put(endpoints("ns", "a", "10.0.0.2"))
        assert not (await told.found("ns/a:80", "10.0.0.2:80")).whole

    play(of(conf_of(server)), script)
    assert sum("watch=true" not in path for _, path in server.requests) == 1


def test_a_version_that_is_too_old_means_a_new_list(server):
    server.put(endpoints("ns", "a", "10.0.0.1"))
    server.put(endpoints("ns", "b", "10.0.0.1"))

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")
        for _ in range(2):  # told in an event, or by the status, as the version is
            server.objects["endpoints"].pop(("ns", "a"), None)
            server.forget()
            server.put(endpoints("ns", "c", "10.0.0.3"))
            server.hang_up()
            found = await told.found("ns/c:80", "10.0.0.3:80")
            assert found.whole or "ns/a:80" not in found.nodes
            server.delete(endpoints("ns", "c"))
        await told.found("ns/c:80")

    play(of(conf_of(server)), script)


def test_a_watch_that_is_cut_goes_on_where_it_was(server, monkeypatch):
    monkeypatch.setattr(module, "LASTING_S", 0)
    server.put(endpoints("ns", "a", "10.0.0.1"))

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")
        server.put(endpoints("ns", "a", "10.0.0.2"))
        await told.found("ns/a:80", "10.0.0.2:80")
        server.cut()
        server.put(endpoints("ns", "a", "10.0.0.3"))
        assert not (await told.found("ns/a:80", "10.0.0.3:80")).whole
        assert told.all == []

    play(of(conf_of(server)), script)
    assert sum("watch=true" not in path for _, path in server.requests) == 1


def test_versions_that_are_always_too_old_are_a_failure(server):
    server.put(endpoints("ns", "a", "10.0.0.1"))
    server.oldest = 10**9

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")
        assert "what has just been listed is too old to be watched (410 Gone)" in await told.failure()

    play(of(conf_of(server)), script)


def test_a_server_that_is_away_and_comes_back(server):
    server.put(endpoints("ns", "a", "10.0.0.1"))

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")
        server.stop()
        assert "connection refused" in await told.failure("refused")
        server.put(endpoints("ns", "a", "10.0.0.2"))
        server.start()
        await told.found("ns/a:80", "10.0.0.2:80")

    play(of(conf_of(server)), script)


def test_the_token_file_is_read_again(server, tmp_path):
    server.put(endpoints("ns", "a", "10.0.0.1"))
    path = tmp_path / "token"

    async def script(told):
        assert await told.failure() == f"{path} can't be read: no such file or directory"
        path.write_text("wrong\n")
        assert "answers 401: Unauthorized" in await told.failure("401")
        path.write_text("token\n")
        await told.found("ns/a:80", "10.0.0.1:80")
        server.token = "renewed"
        server.hang_up()
        await told.failure("401")
        path.write_text("renewed")
        server.put(endpoints("ns", "a", "10.0.0.2"))
        await told.found("ns/a:80", "10.0.0.2:80")

    play(of(conf_of(server, client={"token_file": "token"})), script, folder=tmp_path)


def test_several_clusters(server):
    other = KubernetesServer()
    server.put(endpoints("ns", "a", "10.0.0.1"))
    other.put(endpoints("ns", "a", "10.1.0.1"))

    async def script(told):
        found = await told.until(lambda one: getattr(one, "scope", "") == "second/")
        assert (found.whole, sorted(found.nodes)) == (True, ["second/ns/a:80", "second/ns/a:web"])
        assert found.nodes["second/ns/a:80"][0].host == "10.1.0.1"
        other.stop()
        await told.failure("refused")
        server.put(endpoints("ns", "a", "10.0.0.2"))
        await told.found("first/ns/a:80", "10.0.0.2:80")

    try:
        play(of(conf_of(server, id="first"), conf_of(other, id="second")), script)
    finally:
        other.stop()


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"equal": "prod"}, ["prod"]),
        ({"not_equal": "prod"}, ["dev-1", "dev-2"]),
        ({"match": ["^dev", "x"]}, ["dev-1", "dev-2"]),
        ({"not_match": ["-1$"]}, ["dev-2", "prod"]),
    ],
)
def test_namespaces(server, selector, expected):
    for namespace in ("prod", "dev-1", "dev-2"):
        server.put(endpoints(namespace, "a", "10.0.0.1"))

    async def script(told):
        found = await told.until(lambda one: getattr(one, "whole", False))
        assert sorted({name.partition("/")[0] for name in found.nodes}) == expected
        server.put(endpoints("prod", "b", "10.0.0.1"))
        server.put(endpoints("dev-2", "b", "10.0.0.1"))
        await told.found(f"{expected[-1]}/b:80", "10.0.0.1:80")

    play(of(conf_of(server, namespace_selector=selector)), script)


def test_labels(server):
    server.put(endpoints("ns", "a", "10.0.0.1", team="x"))
    server.put(endpoints("ns", "b", "10.0.0.1", team="y"))

    async def script(told):
        found = await told.until(lambda one: getattr(one, "whole", False))
        assert sorted(found.nodes) == ["ns/a:80", "ns/a:web"]

    play(of(conf_of(server, label_selector="team=x")), script)


@pytest.mark.parametrize(
    ("garbage", "sentence"),
    [
        (b"<html>", "answers with what is no JSON"),
        (b"[]", "answers with no list of Kubernetes objects"),
        (b'{"type": "ADDED"}\n', "sends what is no event"),
        (b'{"type": "ERROR", "object": {"code": 500, "message": "oh no"}}\n', "oh no"),
    ],
)
def test_garbage_is_a_failure(server, garbage, sentence):
    server.garbage = garbage

    async def script(told):
        assert sentence in await told.failure()

    play(of(conf_of(server)), script)


def test_https(certificates, tmp_path, caplog):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.cert, certificates.server.key)
    server = KubernetesServer(context)
    server.put(endpoints("ns", "a", "10.0.0.1"))
    (tmp_path / "token").write_text("token")

    async def found(told):
        await told.found("ns/a:80", "10.0.0.1:80")

    async def refused(told):
        assert "its certificate isn't trusted" in await told.failure()

    try:
        client = {"token_file": "token"}
        play(of(conf_of(server, client={**client, "ca_file": str(certificates.ca.cert)})), found, folder=tmp_path)
        play(of(conf_of(server, client={**client, "ssl_verify": False})), found, folder=tmp_path)
        assert caplog.text == ""
        play(of(conf_of(server, client=client)), found, folder=tmp_path)
        assert "isn't checked: client.ca_file is missing" in caplog.text
        play(of(conf_of(server, client={**client, "ssl_verify": True})), refused, folder=tmp_path)
        (tmp_path / "ca.crt").write_bytes(certificates.ca.cert.read_bytes())
        play(of(conf_of(server, client=client)), found, folder=tmp_path)
        (tmp_path / "ca.crt").write_text("garbage")

        async def unusable(told):
            assert "ca.crt can't be used" in await told.failure()

        play(of(conf_of(server, client=client)), unusable, folder=tmp_path)
    finally:
        server.stop()


def test_the_environment_of_a_pod(server):
    server.put(endpoints("ns", "a", "10.0.0.1"))
    conf = {"service": {"schema": "http"}, "client": {"token": "${TOKEN}"}}
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.port), "TOKEN": "token"}

    async def script(told):
        await told.found("ns/a:80", "10.0.0.1:80")

    async def missing(told):
        assert await told.failure() == "there is no environment variable KUBERNETES_SERVICE_HOST"

    play(of(conf), script, environ=environ)
    play(of(conf), missing)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "needs at least one cluster"),
        (5, "must be an object, or a list of objects with an id each"),
        ([{"id": "a"}, {}], 'each of several clusters needs an "id" of its own'),
        ({"client": {"token": "a", "token_file": "b"}}, 'only one of "token" and "token_file" is allowed'),
        (
            {"namespace_selector": {"equal": "a", "match": ["b"]}},
            'only one of "equal", "not_equal", "match" and "not_match" is allowed',
        ),
        ({"namespace_selector": {"match": ["("]}}, "is not a regular expression"),
    ],
)
def test_configurations_that_are_refused(value, sentence):
    with pytest.raises(ValidationError) as refused:
        KubernetesConfig.model_validate(value)
    assert sentence in sentences(refused.value, value, KubernetesConfig)[0][1]


def test_names_of_services():
    one = Kubernetes(KubernetesConfig.model_validate({"max_nodes": 5}), host())
    several = Kubernetes(KubernetesConfig.model_validate([{"id": "first", "client": {"token": "t"}}]), host())
    assert one.conf.max_nodes == 5
    assert one.fault(Service("kubernetes", "ns/a:web")) is None
    assert one.fault(Service("kubernetes", "ns/a")) == "must have the form NAMESPACE/NAME:PORT"
    assert one.fault(Service("kubernetes", "first/ns/a:80")) == "must have the form NAMESPACE/NAME:PORT"
    assert several.fault(Service("kubernetes", "first/ns/a:80")) is None
    assert several.fault(Service("kubernetes", "ns/a:80")) == "must have the form ID/NAMESPACE/NAME:PORT"
    assert several.fault(Service("kubernetes", "other/ns/a:80")) == 'there is no cluster with the id "other"'
    assert several.concerns("first", Service("kubernetes", "first/ns/a:80"))
    assert not several.concerns("second", Service("kubernetes", "first/ns/a:80"))
    assert one.concerns("", Service("kubernetes", "ns/a:80"))
    assert several.shown()[0]["client"] == {"token": "***"}
    assert one.shown()["service"]["schema"] == "https"
