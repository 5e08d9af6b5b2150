"""A gRPC server (grpcio) with the health service, its messages packed by hand."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.servers.ports import free_port

SERVING, NOT_SERVING = 1, 2


class GrpcHealthServer:
    """`statuses`: by the service's name, "" for the whole; a name that isn't there is NOT_FOUND. `tls`: key and
    certificate, PEM. `authorities`: what clients called it."""

    def __init__(self, statuses: dict[str, int], *, tls: tuple[bytes, bytes] | None = None, named: bool = True) -> None:
        self.port = free_port()
        self.statuses = statuses
        self.metadata: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(4)
        self._server = grpc.server(self._executor, options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(self._check)
        service = "grpc.health.v1.Health" if named else "other.Service"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Check": handler}),))
        address = f"127.0.0.1:{self.port}"
        if tls is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _check(self, request: bytes, context: Any) -> bytes:
        with self._lock:
            self.metadata.append(dict(context.invocation_metadata()))
        status = self.statuses.get(request[2:].decode() if request else "")
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([8, status or 0])

    def stop(self) -> None:
        self._server.stop(grace=None).wait(10)
        self._executor.shutdown(wait=True, cancel_futures=True)
