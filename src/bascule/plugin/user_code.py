"""Users' plugin code: a module or package by name, or a file by path; imported, and imported anew when it changed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from bascule.plugin.plugin import Plugin


class PluginCodeError(Exception):
    """A user's module can't be used; the message is one sentence."""


class UserCode:
    """One source. After a failure the modules of the last good import are the present ones again."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_file = source.endswith(".py") or "/" in source
        self._files: dict[Path, bytes] = {}  # digests of what was imported last, or failed to be

    def load(self) -> list[type[Plugin]]:
        """The Plugin classes that the source defines. Raises PluginCodeError."""
        old = self._take_out()
        try:
            modules = self._import_file() if self.is_file else self._import_named()
            classes = _classes(modules)
            if not classes:
                raise PluginCodeError("defines no class derived from bascule.plugin.Plugin that has a name")
        except BaseException as error:
            self._note(self._take_out())
            sys.modules.update(old)
            if isinstance(error, PluginCodeError):
                raise
            if isinstance(error, Exception | SystemExit):
                raise PluginCodeError(_sentence(error, self.source)) from error
            raise
        self._note({module.__name__: module for module in modules})
        return classes

    def changed(self) -> bool:
        """Whether a file of the source has other contents than at the last load (or came, or went)."""
        return any(_digest(path) != digest for path, digest in self._files.items()) or self._grew()

    def _import_file(self) -> list[ModuleType]:
        path = Path(self.source)
        if not path.is_file():
            raise PluginCodeError("no such file")
        name = self._module_name()
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginCodeError("not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        # Compiled here: a cached .pyc of the same second and size would be taken for the new text.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
        return [module]

    def _import_named(self) -> list[ModuleType]:
        importlib.invalidate_caches()
        for path in self._files:
            with suppress(OSError, NotImplementedError):
                Path(importlib.util.cache_from_source(str(path))).unlink()
        module = importlib.import_module(self.source)
        modules = [module]
        if hasattr(module, "__path__"):
            names = [found.name for found in pkgutil.walk_packages(module.__path__, f"{self.source}.")]
            modules += [importlib.import_module(name) for name in names if not name.endswith(".__main__")]
        return modules

    def _module_name(self) -> str:
        path = Path(self.source).resolve()
        return f"bascule_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    def _take_out(self) -> dict[str, ModuleType]:
        """Takes the source's modules out of sys.modules, so that they are imported anew, and returns them."""
        name = self._module_name() if self.is_file else self.source
        names = [key for key in sys.modules if key == name or key.startswith(f"{name}.")]
        return {key: sys.modules.pop(key) for key in names}

    def _note(self, modules: dict[str, ModuleType]) -> None:
        """Remembers the state of all files, of failed imports too: they are tried again when they change."""
        paths = {Path(file) for module in modules.values() if (file := getattr(module, "__file__", None))}
        paths |= self._files.keys()
        if self.is_file:
            paths.add(Path(self.source))
        elif not paths:
            with suppress(Exception):
                spec = importlib.util.find_spec(self.source)
                if spec is not None and spec.origin:
                    paths.add(Path(spec.origin))
        for folder in {path.parent for path in paths if path.name == "__init__.py"}:
            paths |= set(folder.rglob("*.py"))
        self._files = {path: _digest(path) for path in paths}

    def _grew(self) -> bool:
        folders = {path.parent for path in self._files if path.name == "__init__.py"}
        return any(path not in self._files for folder in folders for path in folder.rglob("*.py"))


def _classes(modules: list[ModuleType]) -> list[type[Plugin]]:
    """Plugin classes defined in these modules, not imported by them; a base without a name is left out."""
    own = {module.__name__ for module in modules}
    found: dict[str, type[Plugin]] = {}
    for module in modules:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Plugin)
                and value.__module__ in own
                and ("name" in vars(value) or hasattr(value, "name"))
            ):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def _sentence(error: BaseException, source: str) -> str:
    """The error with the line of the user's code where it came from."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError) and error.name == source:
        return "no such module"
    where = ""
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if filename != __file__ and not filename.startswith("<frozen"):
            where = f"{filename}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return f"{where}{type(error).__name__}: {error}"
