from bascule.model.listen import Listen, ListenAddress, addresses


def test_an_entry_without_address_listens_on_both_families() -> None:
    assert [str(a) for a in addresses((Listen(port=9080),), True, True)] == ["http://0.0.0.0:9080", "http://[::]:9080"]
    assert [str(a) for a in addresses((Listen(port=9080),), False, True)] == ["http://0.0.0.0:9080"]


def test_an_address_is_opened_once() -> None:
    entries = (Listen(ip="::1", port=1), Listen(ip="::1", port=1))
    assert addresses(entries, True, False) == (ListenAddress(host="::1", port=1),)


def test_unix_sockets() -> None:
    assert [str(a) for a in addresses((Listen(path="/run/b.sock"),), True, True)] == ["unix:/run/b.sock"]
