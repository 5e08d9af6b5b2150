import pytest

from bascule.plugin.host import HttpAnswer, HttpClientError
from bascule.plugin.kit.drive import drive
from bascule.plugin.kit.memory_host import START_S, MemoryHost


def test_counters_have_windows():
    host = MemoryHost()
    assert host.counters.incr("a", 1, 10) == (1, 10)
    host.advance(4)
    assert host.counters.incr("a", 2, 10) == (3, 6)
    assert host.counters.get("a") == 3
    host.advance(6)
    assert host.counters.get("a") == 0
    assert host.counters.incr("a", 1, 10) == (1, 10)


def test_counters_without_a_window():
    host = MemoryHost()
    assert host.counters.add("b", 2) == 2
    host.advance(1e9)
    assert host.counters.add("b", -1) == 1
    assert host.counters.get("b") == 1


def test_timers_run_in_their_order_at_their_time():
    host = MemoryHost()
    ran = []
    host.call_later(2, lambda: ran.append(("b", host.now() - START_S)))
    host.call_later(1, lambda: ran.append(("a", host.now() - START_S)))
    host.call_later(1, ran.append, "never").cancel()
    host.call_later(9, ran.append, "late")
    host.advance(3)
    assert ran == [("a", 1), ("b", 2)]
    assert host.monotonic() == START_S + 3


def test_spawned_coroutines_wait_until_settled():
    host = MemoryHost()
    ran = []

    async def work():
        await host.sleep(5)
        ran.append(host.now() - START_S)

    host.spawn(work(), "work")
    assert [name for name, _ in host.spawned] == ["work"]
    host.settle()
    assert (ran, host.slept) == ([5], [5])


def test_settling_inside_a_loop():
    host = MemoryHost()
    ran = []

    async def work():
        ran.append(1)

    host.spawn(work(), "work")
    drive(host.settle_async())
    assert ran == [1]


def test_http_answers_are_canned():
    answer = HttpAnswer(200, [], b"ok")
    host = MemoryHost(http={"http://a/": answer, "http://b/": HttpClientError("down")})
    assert drive(host.http.request("POST", "http://a/", headers=[("X", "1")], body=b"b")) is answer
    (call,) = host.http.calls
    assert (call.method, call.header("x"), call.header("y"), call.body) == ("POST", "1", None, b"b")
    for url in ("http://b/", "http://absent/"):
        with pytest.raises(HttpClientError):
            drive(host.http.request("GET", url))


def test_http_answers_may_be_computed():
    host = MemoryHost(http=lambda call: HttpAnswer(int(call.url[-3:]), [], b""))
    assert drive(host.http.request("GET", "http://a/404")).status == 404


def test_state_is_made_once_and_chance_is_seeded():
    host = MemoryHost(metadata="m", attr={"a": 1}, protos={"1": "syntax"})
    assert host.state("k", list) is host.state("k", list)
    assert host.state("other", list) is not host.state("k", list)
    assert MemoryHost(seed=3).random.random() == MemoryHost(seed=3).random.random()
    assert (host.metadata(), host.attr["a"], host.settings["server_name"]) == ("m", 1, "Bascule")
    assert (host.proto("1"), host.proto("2")) == ("syntax", None)
    assert repr(host) == "<memory host routes/1 spawned=0 timers=0>"
