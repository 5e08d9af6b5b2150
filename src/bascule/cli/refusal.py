"""How a command says that it can't go on: one clear line on stderr."""

from __future__ import annotations

import sys

from bascule.errors.config_error import ConfigRefused


def fail(text: str, code: int = 1) -> int:
    print(f"bascule: {text}", file=sys.stderr, flush=True)
    return code


def fail_with(error: ConfigRefused | OSError) -> int:
    """For a configuration that can't be used or read: every error of it."""
    if isinstance(error, ConfigRefused):
        for fault in error.errors:
            print(fault, file=sys.stderr)
        return fail(f"{count(len(error.errors), 'error')} in the configuration")
    return fail(f"cannot read {error.filename}: {(error.strerror or str(error)).lower()}")


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
