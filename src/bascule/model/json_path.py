"""JSON paths as errors tell them ("$.plugins.limit-count.count"), taken apart again."""

from __future__ import annotations

import re

_PART = re.compile(r'\.([A-Za-z0-9_\-]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]')


def parts(path: str) -> list[str | int]:
    """The keys and positions of a path that errors.sentences.json_path() made."""
    return [int(match[2]) if match[2] else match[1] or match[3].replace('\\"', '"') for match in _PART.finditer(path)]
