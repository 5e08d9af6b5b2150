"""What docs/releases.md shows works when pasted: each configuration is loaded, and each curl line that says which port
answers is asked."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import RawConnection, RawUpstream, response

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("releases.md", "plugins/canary-release.md")
PORTS = ("1980", "1981")


def examples() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(page, configuration, [(curl line, port that answers)])"""
    found = []
    for page in PAGES:
        for part in (DOCS / page).read_text().split("```yaml\n")[1:]:
            conf, _, rest = part.partition("```")
            lines = re.findall(r"^    \$ (curl .*?)\s+# .*?(198\d)$", rest, re.MULTILINE)
            found.append((page, conf, lines))
    return found


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, RawUpstream]]:
    def named(port: str) -> RawUpstream:
        def play(connection: RawConnection) -> None:
            while True:
                connection.read_request()
                connection.send(response(port.encode()))

        return RawUpstream(play)

    started = {port: named(port) for port in PORTS}
    yield started
    for one in started.values():
        one.stop()


@pytest.fixture(scope="module")
def served(module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway()


@pytest.mark.parametrize("number", range(len(examples())))
def test_what_the_page_shows(number: int, served: Gateway, servers: dict[str, RawUpstream]) -> None:
    _, conf, lines = examples()[number]
    for port, server in servers.items():
        conf = conf.replace(f"127.0.0.1:{port}", server.address)
    served.reload(conf)
    _, status = served.status("/status/details")
    assert status["refused"] == []
    for line, port in lines:
        words = shlex.split(line)[1:]
        headers = [tuple(words[i + 1].split(": ", 1)) for i, word in enumerate(words) if word == "-H"]
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        target = next(word for word in words if word.startswith("http")).removeprefix("http://127.0.0.1:9080")
        with served.client() as client:
            answer = client.request(method, target, [(name, value) for name, value in headers])
        assert answer.body.decode() == port, line


def test_there_is_something_to_show() -> None:
    assert sum(len(lines) for _, _, lines in examples()) >= 9
