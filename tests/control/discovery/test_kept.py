import asyncio
import json
import time

import pytest

from bascule.control.discovery import kept as module
from bascule.control.discovery.discovery import DiscoveredNode, Service
from bascule.control.discovery.kept import KeptFile, packed, packed_dump, read_dump, read_kept, shown

WEB = Service("dns", "web", '{"x":1}')
LISTS = {WEB: (DiscoveredNode("a", 1, 2, 3, {"z": 1}), DiscoveredNode("b", None))}


def test_what_is_kept_is_read_again(tmp_path):
    path = tmp_path / "dns.json"
    assert read_kept(path, "dns") == {}
    path.write_bytes(packed(LISTS))
    assert read_kept(path, "dns") == LISTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\0\0",
        "[[[[",
        '{"format": 2}',
        '{"format": 1, "services": 7}',
        '{"format": 1, "services": {"a": 1}}',
        '{"format": 1, "services": [["name", "a"]]}',
        '{"format": 1, "services": [{"name": "a", "nodes": {}}]}',
        '{"format": 1, "services": [{"name": "a", "nodes": [{"host": "a", "port": 0}]}]}',
    ],
)
def test_a_damaged_file_is_not_used(tmp_path, text, caplog):
    path = tmp_path / "dns.json"
    path.write_text(text)
    assert read_kept(path, "dns") == {}
    assert "can't be used" in caplog.text
    path.unlink()
    path.mkdir()
    assert read_kept(path, "dns") == {}
    assert "can't be read: is a directory" in caplog.text


def test_dumps_in_the_form_of_apisix(tmp_path):
    path = tmp_path / "consul.dump"
    path.write_text(
        '{"services": {"a": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}, "last_update": 5, "expire": 10}'
    )
    expected = {Service("consul", "a"): (DiscoveredNode("127.0.0.1", 1),)}
    assert read_dump(path, "consul") == (expected, 5, 10)
    path.write_bytes(packed_dump(expected, 7))
    assert json.loads(path.read_bytes())["services"] == {"a": [{"host": "127.0.0.1", "port": 1, "weight": 1}]}
    lists, written, expire = read_dump(path, "consul")
    assert (lists, expire) == (expected, 7)
    assert abs(written - time.time()) < 60
    for text in ("[]", '{"services": {"a": 1}}', '{"services": {"a": [{"host": "a", "port": -1}]}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"."):
            read_dump(path, "consul")


def test_a_file_is_written_some_time_after_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    path = tmp_path / "deep" / "x.json"
    value = [b"1"]

    async def script():
        file = KeptFile(path, lambda: value[0])
        for text in (b"2", b"3"):
            value[0] = text
            file.changed()
            async with asyncio.timeout(20):
                while not path.exists() or path.read_bytes() != text:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        value[0] = b"4"
        file.changed()
        await file.close()
        assert shown(path) == 4

    asyncio.run(script())


def test_a_folder_that_can_not_be_written_is_told_once(tmp_path, caplog):
    path = tmp_path / "file" / "x.json"
    path.parent.write_text("no folder")

    async def script():
        for _ in range(2):
            file.changed()
            await file.close()

    file = KeptFile(path, lambda: b"1")
    asyncio.run(script())
    assert caplog.text.count("can't be kept") == 1


def test_a_mistake_of_who_is_asked_is_told(tmp_path, caplog):
    def look():
        raise LookupError("no such thing")

    async def script():
        file.changed()
        await file.close()

    file = KeptFile(tmp_path / "x.json", look)
    asyncio.run(script())
    assert "can't be kept" in caplog.text
    assert "LookupError('no such thing')" in caplog.text
