import pickle
import timeit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bascule.observe.metrics import DROPPED, Metrics


def parsed(metrics):
    """Sample name with labels -> value, as Prometheus reads it."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_names_and_values_as_apisix_has_them():
    metrics = Metrics()
    status = metrics.counter("apisix_http_status", 'Status "codes"\nby route', ("code", "route"))
    status.child(("200", "1")).inc()
    status.child(("200", "1")).inc(2)
    metrics.gauge("apisix_connections", "Open ones").set(1.5)
    assert metrics.render().decode() == (
        '# HELP apisix_http_status Status "codes"\\nby route\n# TYPE apisix_http_status counter\n'
        'apisix_http_status{code="200",route="1"} 3\n'
        "# HELP apisix_connections Open ones\n# TYPE apisix_connections gauge\napisix_connections 1.5\n"
    )


def test_label_values_are_escaped():
    metrics = Metrics()
    nasty = 'a"b\\c\nd'
    metrics.counter("c", "", ("l",)).child((nasty,)).inc()
    assert parsed(metrics) == {("c_total", ("l", nasty)): 1} or parsed(metrics) == {("c", ("l", nasty)): 1}


def test_histograms():
    metrics = Metrics()
    latency = metrics.histogram("latency", "ms", ("type",), (1, 10, 100))
    series = latency.child(("request",))
    for value in (0.5, 1, 5, 1000):
        series.observe(value)
    label = ("type", "request")
    assert parsed(metrics) == {
        ("latency_bucket", ("le", "1"), label): 2,
        ("latency_bucket", ("le", "10"), label): 3,
        ("latency_bucket", ("le", "100"), label): 3,
        ("latency_bucket", ("le", "+Inf"), label): 4,
        ("latency_sum", label): 1006.5,
        ("latency_count", label): 4,
    }


def test_without_labels():
    metrics = Metrics()
    metrics.counter("c", "").inc(2)
    metrics.histogram("h", "", buckets=(1,)).observe(3)
    gauge = metrics.gauge("g", "").child()
    gauge.inc(5)
    gauge.dec(2)
    assert b"\nc 2\n" in metrics.render()
    assert b'h_bucket{le="+Inf"} 1\nh_sum 3\nh_count 1\n' in metrics.render()
    assert b"\ng 3\n" in metrics.render()


def test_nothing_counted_renders_nothing():
    metrics = Metrics()
    metrics.counter("c", "", ("a",))
    assert metrics.render() == b""
    assert repr(metrics) == "<metrics 2 families 0 series>"


def test_a_series_is_made_once():
    family = Metrics().counter("c", "", ("a",))
    assert family.child(("x",)) is family.child(("x",))
    with pytest.raises(ValueError, match="2 values"):
        family.child(("x", "y"))


def test_a_family_is_made_once():
    metrics = Metrics()
    assert metrics.counter("c", "", ("a",)) is metrics.counter("c", "other help", ("a",))
    with pytest.raises(ValueError, match="already a counter"):
        metrics.gauge("c", "", ("a",))
    with pytest.raises(ValueError, match="already a counter"):
        metrics.counter("c", "", ("b",))
    for name, labels in (("a-b", ()), ("", ()), ("a", ("b-c",))):
        with pytest.raises(ValueError, match="not a metric name"):
            metrics.counter(name, "", labels)


def test_series_are_limited_and_the_rest_is_counted():
    metrics = Metrics()
    family = metrics.counter("c", "", ("a",))
    family.max_series = 2
    for value in "abcd":
        family.child((value,)).inc()
    assert len(family.series) == 2
    assert parsed(metrics)[(DROPPED, ("family", "c"))] == 2
    assert metrics.delta()[0][1] == DROPPED


def test_series_can_be_removed():
    family = Metrics().gauge("g", "", ("node",))
    family.child(("a",)).set(1)
    family.child(("b",)).set(1)
    family.remove(("a",))
    family.remove(("absent",))
    assert list(family.series) == [("b",)]
    family.clear()
    assert family.series == {}


def test_workers_add_up():
    total, workers = Metrics(), [Metrics(), Metrics()]
    for number, worker in enumerate(workers, 1):
        worker.counter("c", "help", ("l",)).child(("x",)).inc(number)
        worker.gauge("g", "").set(number)
        worker.histogram("h", "", (), (1, 2)).observe(number)
        total.merge(pickle.loads(pickle.dumps(worker.delta())), f"worker {number}")
        assert worker.delta() == []
    assert b'c{l="x"} 3\n' in total.render()
    assert b"\ng 3\n" in total.render()
    assert b'h_bucket{le="1"} 1\nh_bucket{le="2"} 2\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n' in total.render()
    workers[0].counter("c", "help", ("l",)).child(("x",)).inc(10)
    workers[0].gauge("g", "").set(7)
    total.merge(workers[0].delta(), "worker 1")
    assert b'c{l="x"} 13\n' in total.render()
    assert b"\ng 9\n" in total.render()


def test_gauges_of_a_worker_that_is_gone_no_longer_count():
    total, worker = Metrics(), Metrics()
    worker.gauge("g", "").set(4)
    worker.counter("c", "").inc(4)
    total.merge(worker.delta(), "w")
    total.forget("w")
    assert b"\ng 0\n" in total.render()
    assert b"\nc 4\n" in total.render()


def test_gauges_that_workers_remove_are_gone():
    whole, workers = Metrics(), [Metrics(), Metrics()]
    for number, worker in enumerate(workers):
        worker.gauge("g", "h", ("node",)).child(("a",)).set(1)
        whole.merge(worker.delta(), str(number))
    for number, worker in enumerate(workers):
        worker.gauge("g", "h", ("node",)).remove(("a",))
        worker.gauge("g", "h", ("node",)).remove(("never there",))
        whole.merge(worker.delta(), str(number))
        assert (b'g{node="a"} 1' in whole.render()) is (number == 0)
        assert worker.delta() == []
    assert whole.render() == b""
    # Removed and made again between two looks: as if it had stayed.
    gauge = workers[0].gauge("g", "h", ("node",))
    for value in (1, 2):
        gauge.remove(("a",))
        gauge.child(("a",)).set(value)
        whole.merge(workers[0].delta(), "0")
        assert b'g{node="a"} %d\n' % value in whole.render()
    # A counter stays what it was: others may have counted, too.
    workers[0].counter("c", "h").inc()
    whole.merge(workers[0].delta(), "0")
    workers[0].counter("c", "h").remove(())
    whole.merge(workers[0].delta(), "0")
    assert b"\nc 1\n" in whole.render()


def test_numbers():
    metrics = Metrics()
    gauge = metrics.gauge("g", "").child()
    for value, text in ((3.0, "3"), (0.1, "0.1"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (1e20, "1e+20")):
        gauge.set(value)
        assert metrics.render().decode().endswith(f"g {text}\n")


def test_counting_is_cheap():
    series = Metrics().counter("c", "", ("a",)).child(("x",))
    best = min(timeit.repeat(series.inc, number=20_000, repeat=5)) / 20_000
    assert best < 1e-6, f"{best * 1e9:.0f} ns"
