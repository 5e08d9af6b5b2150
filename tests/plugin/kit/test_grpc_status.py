import base64

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from bascule.plugin.kit.grpc_status import GrpcStatus, http_status, read_status


def packed_status(code, message, *details):
    """google.rpc.Status by hand: code 1, message 2, details 3."""
    pool = DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    file = FileDescriptorProto(name="s", syntax="proto3", dependency=["google/protobuf/any.proto"])
    status = file.message_type.add(name="S")
    kinds = FieldDescriptorProto
    status.field.add(name="code", number=1, label=1, type=kinds.TYPE_INT32)
    status.field.add(name="message", number=2, label=1, type=kinds.TYPE_STRING)
    status.field.add(name="details", number=3, label=3, type=kinds.TYPE_MESSAGE, type_name=".google.protobuf.Any")
    pool.AddSerializedFile(file.SerializeToString())
    made = GetMessageClass(pool.FindMessageTypeByName("S"))(code=code, message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made.SerializeToString()


@pytest.mark.parametrize(("code", "status"), [(0, 200), (1, 499), (5, 404), (8, 429), (14, 503), (16, 401), (17, 599)])
def test_http(code, status):
    assert http_status(code) == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([], None),
        ([("grpc-message", "x"), ("content-type", "a")], None),
        ([("grpc-status", "0")], GrpcStatus(0)),
        ([("Grpc-Status", "5"), ("GRPC-Message", "not%20found %E2%9C%93 100%")], GrpcStatus(5, "not found ✓ 100%")),
        ([("grpc-status", "5"), ("grpc-status", "0")], GrpcStatus(5)),
        ([("grpc-status", "-1")], GrpcStatus(2)),
        ([("grpc-status", "9" * 5000)], GrpcStatus(2)),
        ([("grpc-status", "٣")], GrpcStatus(2)),
        ([("grpc-status", "3"), ("grpc-message", "%ff%zz")], GrpcStatus(3, "�%zz")),
        ([("grpc-status", "3"), ("grpc-status-details-bin", "YWI")], GrpcStatus(3, "", b"ab")),
        ([("grpc-status", "3"), ("grpc-status-details-bin", "YWI=")], GrpcStatus(3, "", b"ab")),
        ([("grpc-status", "3"), ("grpc-status-details-bin", "?!")], GrpcStatus(3)),
    ],
)
def test_fields(fields, status):
    assert read_status(fields) == status


def test_as_data():
    assert GrpcStatus(3, "bad").as_data(print) == {"code": 3, "message": "bad"}
    assert GrpcStatus(3, "bad", b"\xff\xff").as_data(print) == {"code": 3, "message": "bad"}


def test_details():
    packed = packed_status(14, "out", wrappers_pb2.StringValue(value="x"), wrappers_pb2.Int32Value(value=1))
    header = base64.b64encode(packed).decode()
    status = read_status([("grpc-status", "14"), ("grpc-message", "shorter"), ("grpc-status-details-bin", header)])
    assert status is not None
    assert status.as_data(lambda type_url, value: [type_url, value]) == {
        "code": 14,
        "message": "out",
        "details": [
            ["type.googleapis.com/google.protobuf.StringValue", b"\n\x01x"],
            ["type.googleapis.com/google.protobuf.Int32Value", b"\x08\x01"],
        ],
    }
