import logging

import pytest

from bascule.plugin.kit.batch import BatchProcessor
from bascule.plugin.kit.testing import MemoryHost


class Sink:
    def __init__(self, failures=0):
        self.batches = []
        self.failures = failures
        self.attempts = 0

    async def send(self, entries):
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise OSError("down")
        self.batches.append(list(entries))


@pytest.fixture
def host():
    return MemoryHost("logger", holder="routes/9")


def metrics(host):
    return host.metrics.render().decode()


def test_a_full_batch_goes_at_once(host):
    sink = Sink()
    batch = BatchProcessor(host, sink.send, name="b", batch_max_size=2)
    for number in range(5):
        assert batch.push(number)
    host.settle()
    assert sink.batches == [[0, 1], [2, 3]]
    assert batch.pending == 1
    assert 'apisix_batch_process_entries{name="b",route_id="9",server_addr=""} 1' in metrics(host)


def test_an_idle_buffer_goes_after_inactive_timeout(host):
    sink = Sink()
    batch = BatchProcessor(host, sink.send, name="b", inactive_timeout=5, buffer_duration=60)
    batch.push(1)
    host.advance(4)
    batch.push(2)
    host.advance(4)
    assert sink.batches == []
    host.advance(1)
    assert sink.batches == [[1, 2]]
    host.advance(100)
    assert sink.batches == [[1, 2]]
    assert host.timers == []


def test_a_busy_buffer_goes_after_buffer_duration(host):
    sink = Sink()
    batch = BatchProcessor(host, sink.send, name="b", inactive_timeout=5, buffer_duration=10)
    for number in range(6):
        batch.push(number)
        host.advance(2)
    assert sink.batches == [[0, 1, 2, 3, 4]]


def test_failures_are_tried_again_and_then_dropped(host, caplog):
    caplog.set_level(logging.WARNING)
    sink = Sink(failures=2)
    batch = BatchProcessor(host, sink.send, name="b", batch_max_size=1, max_retry_count=2, retry_delay=3)
    batch.push("a")
    host.settle()
    assert (sink.batches, host.slept) == ([["a"]], [3, 3])
    sink.failures = 3
    batch.push("b")
    host.settle()
    assert sink.batches == [["a"]]
    assert batch.pending == 0
    assert 'bascule_batch_dropped_entries_total{name="b",reason="failed"} 1' in metrics(host)
    assert "dropped 1 entries" in caplog.text


def test_a_full_queue_drops_the_newest(host, caplog):
    sink = Sink()
    batch = BatchProcessor(host, sink.send, name="b", batch_max_size=2, max_pending_entries=3)
    assert [batch.push(number) for number in range(6)] == [True, True, True, False, False, False]
    assert caplog.text.count("new ones are dropped") == 1
    batch.close()
    host.settle()
    assert sink.batches == [[0, 1], [2]]
    assert 'dropped_entries_total{name="b",reason="full"} 3' in metrics(host)
    assert batch.push(7)


def test_close_sends_the_rest_and_stops_the_timer(host):
    sink = Sink()
    batch = BatchProcessor(host, sink.send, name="b")
    batch.push(1)
    batch.close()
    assert repr(batch) == "<batch b pending=1 batches=1 sending=True>"
    host.settle()
    assert sink.batches == [[1]]
    assert all(timer.cancelled for timer in host.timers)
    batch.close()
    assert host.spawned == []


def test_what_comes_while_sending_is_sent_in_order(host):
    batches = []

    async def send(entries):
        if not batches:
            batch.push("late")
            batch.flush()
        batches.append(list(entries))

    batch = BatchProcessor(host, send, name="b", batch_max_size=1)
    batch.push("first")
    host.settle()
    assert batches == [["first"], ["late"]]
