import base64
import importlib.util
import os
import subprocess
import sys

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bascule.plugin.kit import proto_definition
from bascule.plugin.kit.proto_definition import ProtoDefinition, ProtoError

SOURCE = """
syntax = "proto3";
package a.b;
import "google/protobuf/timestamp.proto";
message Q { string name = 1; google.protobuf.Timestamp at = 2; }
message R { Q q = 1; }
service Greeter {
  rpc Hello (Q) returns (R) {}
  rpc Up (stream Q) returns (R) {}
  rpc Down (Q) returns (stream R) {}
}
"""


def packed(*files):
    """(name, names of messages with the type of their field, imports)"""
    made = FileDescriptorSet()
    for name, messages, imports in files:
        file = made.file.add(name=name, package="a", dependency=imports)
        for message, type_name in messages.items():
            file.message_type.add(name=message).field.add(name="x", number=1, label=1, type=11, type_name=type_name)
    return base64.b64encode(made.SerializeToString()).decode()


def told(content):
    with pytest.raises(ProtoError) as error:
        ProtoDefinition(content)
    return str(error.value)


def test_methods_and_messages():
    definition = ProtoDefinition(SOURCE)
    hello = definition.method("a.b.Greeter", "Hello")
    assert hello is not None
    assert (hello.path, hello.client_streams, hello.server_streams) == ("/a.b.Greeter/Hello", False, False)
    assert hello.input.DESCRIPTOR.full_name == "a.b.Q"
    assert hello.output.FromString(b"\x0a\x03\x0a\x01x").SerializeToString() == b"\x0a\x03\x0a\x01x"
    up, down = (definition.method("a.b.Greeter", name) for name in ("Up", "Down"))
    assert up is not None
    assert down is not None
    assert [(each.client_streams, each.server_streams) for each in (up, down)] == [(True, False), (False, True)]
    assert definition.message("a.b.R") is hello.output


@pytest.mark.parametrize(("service", "name"), [("a.b.Greeter", "Bye"), ("Greeter", "Hello"), ("a.b.Q", "x"), ("", "")])
def test_methods_that_are_not_there(service, name):
    assert ProtoDefinition(SOURCE).method(service, name) is None


def test_messages_that_are_not_there():
    assert ProtoDefinition(SOURCE).message("a.b.Greeter") is None
    assert ProtoDefinition(SOURCE).message("Q") is None


def test_definitions_of_the_same_names_are_apart():
    other = ProtoDefinition(SOURCE.replace("string name", "int64 count"))
    assert [field.name for field in other.message("a.b.Q").DESCRIPTOR.fields] == ["count", "at"]
    assert [field.name for field in ProtoDefinition(SOURCE).message("a.b.Q").DESCRIPTOR.fields] == ["name", "at"]


def test_descriptors_in_any_order():
    files = [("c", {"C": ".a.B"}, ["b"]), ("b", {"B": ".a.A"}, ["a"]), ("a", {"A": ".a.A"}, [])]
    for content in (packed(*files), packed(*reversed(files))):
        assert ProtoDefinition(content).message("a.C") is not None


def test_descriptors_may_leave_out_what_protobuf_brings():
    content = packed(("a", {"A": ".google.protobuf.Any"}, ["google/protobuf/any.proto"]))
    assert ProtoDefinition(content).message("google.protobuf.Any") is not None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('syntax = "proto3";\nmessage Q { Nope x = 1; }', 'content.proto:2:13: "Nope" is not defined.'),
        ("message", "content.proto:1:8: Expected message name."),
        ('syntax = "proto3"; import "../../etc/passwd";', "was not found"),
        ('syntax = "proto3"; import "/etc/passwd";', "was not found"),
        ('syntax = "proto3"; import "content.proto";', "recursively imports itself"),
        ("\ud800 ;", "not Unicode"),
        ("syntax = 'proto3';" + "message A{" * 9999 + "}" * 9999, "recursion limit"),
        ("aGVsbG8gd29ybGQ=", "no FileDescriptorSet"),
        ("", "is empty"),
        (packed(("a", {"A": ".a.Nope"}, [])), "Nope"),
        (packed(("a", {}, ["b"])), "b"),
        (packed(("a", {}, ["google/protobuf/nope.proto"])), "imports google/protobuf/nope.proto"),
        (packed(("a", {"A": ".a.B"}, ["b"]), ("b", {"B": ".a.A"}, ["a"])), "a"),
    ],
)
def test_what_is_wrong(content, sentence):
    assert sentence in told(content)
    assert len(told(content)) <= proto_definition.MOST_CHARS


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'bascule[grpc]'" in told(SOURCE)


def test_as_a_process():
    def run(content):
        command = [sys.executable, "-P", "-m", "bascule.plugin.kit.proto_definition"]
        bare = {**os.environ, "LD_PRELOAD": ""}  # it limits its memory, of which the sanitizer wants much
        return subprocess.run(command, input=content.encode(), capture_output=True, timeout=60, check=False, env=bare)

    assert (run(SOURCE).returncode, run(SOURCE).stdout) == (0, b"")
    assert (run("message").returncode, run("message").stdout) == (1, b"content.proto:1:8: Expected message name.")
