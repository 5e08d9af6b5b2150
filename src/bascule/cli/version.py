"""`bascule version`, and which modules are compiled."""

from __future__ import annotations

import importlib
import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version as package_version
from importlib.resources import files

from bascule.cli.refusal import count, fail


def compiled_modules() -> list[str]:
    """The modules that must be compiled, as the build lists them."""
    names = dict.fromkeys(files("bascule").joinpath("compiled.txt").read_text().split())
    return [f"bascule.{name}" for name in names]


def missing_modules() -> list[str]:
    """Those of them that have no shared object. Finds them without loading any."""
    suffixes = tuple(EXTENSION_SUFFIXES)
    root = files("bascule")
    missing = []
    for name in compiled_modules():
        _, *folders, stem = name.split(".")
        folder = root.joinpath(*folders)
        if not any(entry.name.split(".")[0] == stem and entry.name.endswith(suffixes) for entry in folder.iterdir()):
            missing.append(name)
    return missing


def version() -> int:
    """Prints; 1 when a module that must be compiled is not, or can't be loaded."""
    print(f"Bascule {package_version('bascule')}, Python {platform.python_version()}")
    wrong = 0
    missing = set(missing_modules())
    for name in compiled_modules():
        if name in missing:
            place = "NOT COMPILED"
        else:
            try:
                place = str(importlib.import_module(name).__file__)
            except ImportError as error:
                place = f"CAN'T BE LOADED: {error}"
        wrong += not place.endswith(".so")
        print(f"  {name:32} {place}")
    if wrong:
        return fail(f"{count(wrong, 'module')} not compiled; build the package again (pip install .)")
    return 0
