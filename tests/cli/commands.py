"""Commands of `bascule`, each in a process of its own that is forked from one which has imported everything already.

Whether the program starts at all, and without anything imported, is what test_main, test_check and test_run see.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

LIMIT_S = 30
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["bascule.cli.main", "bascule.cli.working", "bascule.cli.offline_gateway", __name__])


def run(args: Sequence[str], folder: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """`bascule ARGS` in `folder`, with `text` as its standard input."""
    with TemporaryDirectory() as place:
        paths = [Path(place, name) for name in ("stdin", "stdout", "stderr")]
        paths[0].write_text(text)
        process = _forks.Process(target=_run, args=(list(args), str(folder), [*map(str, paths)], dict(os.environ)))
        process.start()
        process.join(LIMIT_S)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"bascule {' '.join(args)}: not done after {LIMIT_S} s")
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            ["bascule", *args], process.exitcode, paths[1].read_text(), paths[2].read_text()
        )


def _run(args: list[str], folder: str, paths: list[str], environ: Mapping[str, str]) -> None:
    from bascule.cli.main import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    for number, path in enumerate(paths):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.argv = ["bascule", *args]
    main()
