"""`bascule version`."""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import version as package_version
from importlib.resources import files


def compiled_modules() -> list[str]:
    """The modules that must be compiled, as the build lists them."""
    return [f"bascule.{name}" for name in files("bascule").joinpath("compiled.txt").read_text().split()]


def version() -> int:
    """Prints; 1 when a module that must be compiled is not."""
    print(f"Bascule {package_version('bascule')}, Python {platform.python_version()}")
    missing = 0
    for name in compiled_modules():
        try:
            path = importlib.import_module(name).__file__ or "?"
        except ImportError as error:
            path = f"missing ({error})"
        compiled = path.endswith(".so")
        missing += not compiled
        print(f"  {name:32} {path if compiled else 'NOT COMPILED: ' + path}")
    if missing:
        print(f"bascule: {missing} modules are not compiled; build the package again", file=sys.stderr)
    return 1 if missing else 0
