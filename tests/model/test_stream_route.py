from bascule.model.stream_route import StreamRoute


def test_accepted(told):
    assert told(StreamRoute, {}) == []
    value = {
        "remote_addr": "10.0.0.0/8",
        "server_port": 9100,
        "sni": "a.com",
        "upstream": {"nodes": {"a:1": 1}, "scheme": "tcp"},
        "protocol": {"name": "redis", "superior_id": 1, "logger": [{"name": "l", "conf": {}}]},
    }
    assert told(StreamRoute, value) == []


def test_refused(told):
    assert told(StreamRoute, {"server_port": 0, "protocol": {}, "server_addr": "x"}) == [
        "$.server_addr: 'x' is neither an IP address nor a CIDR range",
        "$.server_port: must be at least 1",
        "$.protocol.name: is required",
    ]
