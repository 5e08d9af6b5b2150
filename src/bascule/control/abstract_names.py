"""Names of abstract Unix sockets: they vanish with the process that bound them, and everybody can see them."""

from __future__ import annotations

from pathlib import Path

_LIST = Path("/proc/net/unix")


def abstract_names(prefix: str) -> list[str]:
    """Those in use that begin so, sorted; each begins with NUL, as in `bind`. Empty where the kernel lists none."""
    shown = "@" + prefix[1:]
    try:
        lines = _LIST.read_text(errors="replace").splitlines()
    except OSError:
        return []
    names = {line.rpartition(" ")[2] for line in lines}
    return sorted("\0" + name[1:] for name in names if name.startswith(shown))
