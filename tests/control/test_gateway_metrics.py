from bascule.control.fleet import Fleet
from bascule.control.gateway_metrics import set_gateway_metrics
from bascule.observe.metrics import Metrics


def test_names_and_numbers() -> None:
    metrics = Metrics()
    fleet = Fleet(lambda _: None, lambda _: (), lambda *_: None, lambda _: None)  # type: ignore[arg-type,return-value]
    set_gateway_metrics(
        metrics, fleet, prefix="x_", generation=3, refused=2, reload_errors=1, store_ok=False, evictions=4
    )
    lines = metrics.render().decode().splitlines()
    for line in (
        'x_nginx_http_current_connections{state="active"} 0',
        "x_http_requests_total 0",
        "x_etcd_reachable 0",
        "bascule_workers 0",
        "bascule_config_generation 3",
        "bascule_config_refused 2",
        "bascule_config_errors 1",
        "bascule_shared_counter_evictions 4",
    ):
        assert line in lines
