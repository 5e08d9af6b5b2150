"""python -m bench.soak [--seconds 60]: load, a reload every 100 ms, workers killed at random. Exit code 1 on any
failed request besides those in flight in a killed worker."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.soak import Soak, resources


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.soak")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bascule-soak-") as directory:
        upstream = Nginx("location / { return 200 'ok'; }", Path(directory) / "nginx")
        gateway = Gateway(Path(directory) / "gateway", resources(upstream.address, 1), workers=options.workers)
        try:
            report = Soak(gateway, upstream.address, seed=options.seed).run(options.seconds, clients=options.clients)
            code = gateway.stop()
        finally:
            gateway.stop()
            upstream.stop()
    print(f"{report.requests:,} requests {dict(report.statuses)}")
    print(f"{report.reloads} reloads, the last one seen: {report.versions_seen}")
    print(f"{report.kills} workers killed, {report.excused} requests in flight in them")
    print(f"{len(report.failures)} requests failed otherwise")
    for failure in report.failures[:20]:
        print(f"  {failure}")
    return 1 if report.failures or code else 0


if __name__ == "__main__":
    sys.exit(main())
