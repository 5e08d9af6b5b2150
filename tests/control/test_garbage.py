"""What concerns the whole process is tried in one of its own."""

import subprocess
import sys

from bascule.control.garbage import resident_pages


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_settled_is_not_walked_again() -> None:
    said = run(
        "import gc\n"
        "from bascule.control.garbage import Garbage\n"
        "garbage = Garbage()\n"
        "tables = [[n] for n in range(100_000)]\n"
        "cycle = []; cycle.append(cycle); del cycle\n"
        "found = []\n"
        "gc.callbacks.append(lambda phase, info: found.append(info['collected']) if phase == 'stop' else None)\n"
        "garbage.settle()\n"
        "print(sum(found), len(gc.get_objects()) < 1000, gc.get_freeze_count() >= 100_000)\n"
        "del tables\n"
        "print(gc.get_freeze_count() < 100_000)"
    )
    assert said.split() == ["1", "True", "True", "True"], "a young cycle goes, and what is let go of goes by itself"


def test_when_memory_grew_by_half_all_is_collected() -> None:
    said = run(
        "from bascule.control.garbage import Garbage\n"
        "garbage = Garbage()\n"
        "def cycle():\n"
        "    made = [bytearray(1 << 20)]\n"
        "    made.append(made)\n"
        "    return made\n"
        "garbage.look()\n"
        "print(garbage.collections)\n"
        "kept = [cycle() for _ in range(100)]\n"
        "garbage.settle()\n"  # these are frozen before they are garbage
        "del kept\n"
        "garbage.look()\n"
        "print(garbage.collections)\n"
        "garbage.look()\n"
        "print(garbage.collections)"
    )
    assert said.split() == ["1", "2", "2"]


def test_resident_pages_are_those_of_this_process() -> None:
    assert 1_000 < resident_pages() < 10_000_000
