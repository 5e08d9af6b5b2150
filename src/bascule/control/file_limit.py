"""The number of files that this process, and the workers that it starts, may have open."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger("bascule.supervisor")


def raise_file_limit(wanted: int, *, asked: bool) -> int:
    """As many as config.yaml asks for, or as many as are allowed; never fewer than before. Falling short is worth a
    warning if somebody `asked` for the number. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        level = logging.WARNING if asked else logging.INFO
        log.log(level, "nginx_config.worker_rlimit_nofile: %d files are asked for, %d are allowed", wanted, hard)
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
