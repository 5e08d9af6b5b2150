"""python -m bench.chaos [--seconds 300] [--store sqlite|etcd]: load and writes while supervisor, workers and etcd are
killed in random order. Exit code 1 when anything acknowledged was lost, a wrong version was served, or a request failed
besides those in flight in a killed worker."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.servers.chaos import Chaos, config
from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.ports import free_port


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.chaos")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--store", choices=["sqlite", "etcd"], default="sqlite")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bascule-chaos-") as directory:
        etcd = EtcdServer(Path(directory) / "etcd") if options.store == "etcd" else None
        gateway = Gateway(Path(directory) / "gateway", config=config(port, etcd), workers=options.workers)
        try:
            report = Chaos(gateway, port, etcd, seed=options.seed).run(options.seconds)
        finally:
            gateway.stop()
            if etcd is not None:
                etcd.stop()
    print(f"kills: {dict(report.kills)}")
    print(f"{report.requests:,} requests, {report.excused} failed in flight in killed workers")
    print(f"{report.acknowledged:,} writes acknowledged, {report.late} of them before every worker served them")
    print(f"writes that were not acknowledged: {dict(report.refused_writes)}")
    print(f"{len(report.failures)} requests failed otherwise, {len(report.falsehoods)} answers or states were wrong")
    for line in [*report.failures[:20], *report.falsehoods[:20]]:
        print(f"  {line}")
    return 1 if report.failures or report.falsehoods else 0


if __name__ == "__main__":
    sys.exit(main())
