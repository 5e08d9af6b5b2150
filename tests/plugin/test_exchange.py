from bascule.plugin.exchange import BodyTooLarge, MemoryExchange
from bascule.plugin.kit.testing import Binding


def test_body_is_held_as_far_as_it_was_asked_for():
    exchange = MemoryExchange(b"0123456789")
    assert exchange.held_body() is None
    assert exchange.read_body(4) == b"0123"
    assert exchange.read_body(2) == b"0123"
    assert exchange.held_body() == b"0123"
    assert exchange.read_body(99) == b"0123456789"


def test_consumers_are_found_by_key_and_by_name():
    jack = Binding("jack")
    exchange = MemoryExchange(consumers={"key-auth": {"secret": jack}})
    assert exchange.find_consumer("key-auth", "secret") is jack
    assert exchange.find_consumer("key-auth", "other") is None
    assert exchange.find_consumer("basic-auth", "secret") is None
    assert exchange.find_consumer_by_name("jack") is jack
    assert exchange.find_consumer_by_name("jill") is None


def test_too_large_names_its_limit():
    assert BodyTooLarge(5).limit == 5
    assert "5 bytes" in str(BodyTooLarge(5))


def test_record_is_made_of_the_variables():
    variables = {"status": 200, "balancer_ip": "10.0.0.1", "request_time": 0.5, "upstream_response_time": 0.25}
    record = MemoryExchange(variables=variables).record()
    assert (record.status, record.node, record.request_us, record.upstream_us) == (200, "10.0.0.1", 500_000, 250_000)
    assert MemoryExchange().record() == (0, "gateway", None, None, None, 0, None, 0, 0)
