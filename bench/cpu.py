"""What processes cost: CPU time and memory of a process with all its descendants, read from /proc."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """`pid` and all its living descendants."""
    pids = [pid]
    for parent in pids:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in task.read_text().split()]
    return pids


def cpu_s(pid: int) -> float:
    """User and system time of the family since its start, ended threads included; 10 ms steps."""
    ticks = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def run_ns(pid: int) -> int:
    """The same in ns, of threads that live, as the scheduler counts it."""
    return sum(
        int(Path(f"/proc/{member}/task/{task.name}/schedstat").read_text().split()[0])
        for member in family(pid)
        for task in Path(f"/proc/{member}/task").iterdir()
    )


def memory_bytes(pid: int) -> tuple[int, int]:
    """Resident size, and proportional size (shared pages divided among their users), of one process."""
    values = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes = line.split()[:2]
        values[name] = int(kilobytes) * 1024
    return values["Rss:"], values["Pss:"]


def worker(pid: int) -> int:
    """The process that serves: the largest descendant where a master watches over it, else the process itself."""
    return max(family(pid)[1:] or [pid], key=lambda member: memory_bytes(member)[0])
