"""A gRPC server (grpcio) with methods of every kind, and a client for it: greeter.proto, compiled when it is needed."""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_tools import protoc

from tests.servers.ports import free_port

PROTO_PATH = Path(__file__).with_name("greeter.proto")
PACKAGE = "bascule.test"
SERVICE = f"{PACKAGE}.Greeter"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def compile_proto(path: Path) -> bytes:
    """The serialised FileDescriptorSet of a .proto file with what it imports."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set.pb"
        well_known = Path(protoc.__file__).parent / "_proto"
        argv = ["protoc", f"-I{path.parent}", f"-I{well_known}", f"--descriptor_set_out={out}", "--include_imports"]
        if protoc.main([*argv, str(path)]) != 0:
            raise ValueError(f"{path} can't be compiled")
        return out.read_bytes()


@lru_cache(maxsize=1)
def descriptors() -> bytes:
    """greeter.proto as a serialised FileDescriptorSet."""
    return compile_proto(PROTO_PATH)


@lru_cache(maxsize=1)
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors()).file:
        pool.Add(file)
    return pool


@lru_cache(maxsize=1)
def messages() -> SimpleNamespace:
    """The message classes by name: messages().HelloRequest(name="x")."""
    found = _pool().FindFileByName(PROTO_PATH.name).message_types_by_name
    return SimpleNamespace(**{name: message_factory.GetMessageClass(kind) for name, kind in found.items()})


def _methods() -> Iterator[tuple[str, str, type[Message], type[Message]]]:
    """(name, kind as grpc calls it, request class, response class)"""
    m = vars(messages())
    proto = descriptor_pb2.FileDescriptorProto()
    _pool().FindFileByName(PROTO_PATH.name).CopyToProto(proto)
    for method in proto.service[0].method:
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        yield method.name, kind, m[method.input_type.split(".")[-1]], m[method.output_type.split(".")[-1]]


class GrpcServer:
    """A server on a free port, in threads of this process. `tls`: key and certificate, PEM.

    `calls` counts the calls of each method, `cancelled` those whose client went away before their end;
    `wait_cancelled` waits for the next one.
    """

    def __init__(
        self,
        *,
        threads: int = 32,
        options: list[tuple[str, Any]] | None = None,
        port: int | None = None,
        tls: tuple[bytes, bytes] | None = None,
    ):
        self.port = port or free_port()
        self.calls: dict[str, int] = {}
        self.cancelled = 0
        self._changed = threading.Condition()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="grpc-server")
        own = [("grpc.so_reuseport", 0), *UNLIMITED, *(options or [])]
        self._server = grpc.server(self._executor, options=own)
        handlers = {}
        for name, kind, request, response in _methods():
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            handlers[name] = make(self._counted(name), request.FromString, response.SerializeToString)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        address = f"127.0.0.1:{self.port}"
        if tls is None:
            bound = self._server.add_insecure_port(address)
        else:
            key, certificate = tls
            bound = self._server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
        if bound != self.port:
            raise OSError(f"port {self.port} is taken")
        self._server.start()

    @property
    def address(self) -> str:
        """host:port, as an upstream's `nodes` names it."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.stop(grace=None).wait(10)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def wait_cancelled(self, count: int = 1, timeout_s: float = 20) -> None:
        """Returns once `count` calls have been cancelled since the server began."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.cancelled >= count, timeout_s):
                raise TimeoutError(f"{self.cancelled} calls cancelled after {timeout_s} s, not {count}")

    def wait_called(self, method: str, count: int = 1, timeout_s: float = 20) -> None:
        """Returns once `count` calls of the method have begun."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls.get(method, 0) >= count, timeout_s):
                raise TimeoutError(f"{method}: {self.calls.get(method, 0)} calls after {timeout_s} s, not {count}")

    def _counted(self, name: str) -> Any:
        behaviour = getattr(self, f"_{name}")

        def begin(request: Any, context: grpc.ServicerContext) -> Any:
            with self._changed:
                self.calls[name] = self.calls.get(name, 0) + 1
                self._changed.notify_all()
            return behaviour(request, context)

        return begin

    def _pause(self, seconds: float, context: grpc.ServicerContext) -> bool:
        """Waits; False: the call was cancelled meanwhile."""
        gone = threading.Event()
        if context.add_callback(gone.set) and not gone.wait(seconds):
            return True
        self._count_cancelled()
        return False

    def _count_cancelled(self) -> None:
        with self._changed:
            self.cancelled += 1
            self._changed.notify_all()

    # ---- methods

    def _SayHello(self, request: Any, context: grpc.ServicerContext) -> Any:
        return messages().HelloReply(message=f"Hello {request.name}", items=request.items)

    def _Repeat(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            for _ in range(request.count):
                yield messages().Blob(payload=request.payload)
                if request.pause_ms and not self._pause(request.pause_ms / 1000, context):
                    return
        except GeneratorExit:  # cancelled while a message went out
            self._count_cancelled()
            raise

    def _Collect(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        sizes = [len(request.payload) for request in requests]
        return messages().Summary(count=len(sizes), bytes=sum(sizes))

    def _Chat(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        yield from requests

    def _Echo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return request

    def _EchoTypes(self, request: Any, context: grpc.ServicerContext) -> Any:
        return request

    def _Fail(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._fail(request, context)

    def _FailLater(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for number in range(request.after):
            yield messages().Blob(payload=b"%d" % number)
        self._fail(request, context)

    def _fail(self, request: Any, context: grpc.ServicerContext) -> None:
        if request.HasField("details"):
            context.set_trailing_metadata((("grpc-status-details-bin", request.details.SerializeToString()),))
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[request.code], request.message)

    def _Metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        received = [
            messages().Pair(name=name, value=value if isinstance(value, bytes) else value.encode())
            for name, value in context.invocation_metadata()
        ]
        context.send_initial_metadata((("x-initial", "one"), ("x-initial-bin", b"\x00\x01\xff")))
        context.set_trailing_metadata((("x-trailing", "two"), ("x-trailing-bin", b"\xfe\x00")))
        return messages().MetadataReply(received=received)

    def _Slow(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._pause(request.ms / 1000, context)
        return messages().HelloReply(message="at last")

    def _Deadline(self, request: Any, context: grpc.ServicerContext) -> Any:
        left = context.time_remaining()  # without a deadline: centuries
        return messages().DeadlineReply(left_ms=-1 if left is None or left > 1e9 else round(left * 1000))


class GrpcClient:
    """A channel to `port`, with a callable for each method: client.SayHello(messages().HelloRequest(name="x"))."""

    def __init__(
        self,
        port: int,
        host: str = "127.0.0.1",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        options: list[tuple[str, Any]] | None = None,
    ):
        # A pool of its own: else channels of one process share connections.
        own = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0), *UNLIMITED, *(options or [])]
        target = f"{host}:{port}"
        self.channel = (
            grpc.insecure_channel(target, options=own)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=own)
        )
        for name, kind, request, response in _methods():
            call = getattr(self.channel, kind)(f"/{SERVICE}/{name}", request.SerializeToString, response.FromString)
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{SERVICE} has no method {name}")

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.channel.close()


def framed(message: Message | bytes) -> bytes:
    """A message as it stands in a body: not compressed, its length, its bytes."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


def unframed(body: bytes) -> list[bytes]:
    """The messages of a body. ValueError: its last one isn't whole."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        if len(body) < 5 + size:
            raise ValueError(f"{len(body)} bytes left, {5 + size} announced")
        found.append(body[5 : 5 + size])
        body = body[5 + size :]
    return found
