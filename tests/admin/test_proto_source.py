import base64

import pytest

from bascule.admin import proto_source
from bascule.admin.proto_source import proto_fault

SOURCE = """
syntax = "proto3";
package a;
import "google/protobuf/timestamp.proto";
message Q { string name = 1; google.protobuf.Timestamp at = 2; }
service Greeter { rpc Hello (Q) returns (Q) {} }
"""


def descriptors(*messages):
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files = FileDescriptorSet()
    file = files.file.add(name="a.proto", package="a")
    for name, type_name in messages:
        message = file.message_type.add(name=name)
        message.field.add(name="x", number=1, label=1, type=11, type_name=type_name)
    return base64.b64encode(files.SerializeToString()).decode()


def test_source():
    assert proto_fault(SOURCE) is None


def test_what_protoc_says_of_bad_source():
    told = proto_fault('syntax = "proto3";\nmessage Q { Nope x = 1; }')
    assert told == 'content.proto:2:13: "Nope" is not defined.'


@pytest.mark.parametrize("source", ['import "../../etc/passwd";', 'import "/etc/passwd";'])
def test_nothing_else_of_the_machine_is_read(source):
    told = proto_fault(f'syntax = "proto3";\n{source}')
    assert told
    assert "root:" not in told


def test_descriptors():
    good = descriptors(("A", ".a.A"))
    assert proto_fault(good) is None
    assert proto_fault("\n".join(good[i : i + 20] for i in range(0, len(good), 20))) is None
    assert "Nope" in (proto_fault(descriptors(("A", ".a.Nope"))) or "")
    assert "FileDescriptorSet" in (proto_fault(base64.b64encode(b"\xff\xff\xff").decode()) or "")
    assert "empty" in (proto_fault("") or "")


def test_no_text():
    assert "Unicode" in (proto_fault("\ud800 ;") or "")


def test_time_is_bounded(monkeypatch):
    monkeypatch.setattr(proto_source, "TIMEOUT_S", 0.001)
    assert "0.001 s" in (proto_fault(SOURCE) or "")


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(proto_source.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'bascule[grpc]'" in (proto_fault(SOURCE) or "")
