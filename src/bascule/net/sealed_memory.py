"""Memory that processes share: a file without a name, inherited by its descriptor."""

import fcntl
import os


def sealed_memory(name: str, size_bytes: int, head: bytes) -> int:
    """The descriptor of a new one, which begins with `head` and is zero after that. `name` is seen in /proc only.

    Nobody can shrink it under the mappings, which would kill every worker with SIGBUS.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size_bytes)
        os.pwrite(fd, head, 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd
