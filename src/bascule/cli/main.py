"""The command `bascule`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Bascule, an API gateway.")

ConfigOption = Annotated[Optional[Path], typer.Option("--config", "-c", help="config.yaml; without it, ./config.yaml if there is one")]  # noqa: UP045


@app.command()
def run(
    config: ConfigOption = None,
    workers: Annotated[Optional[str], typer.Option(help="number of worker processes, or auto")] = None,  # noqa: UP045
    strict: Annotated[bool, typer.Option("--strict", help="do not start with errors in the configuration")] = False,
) -> None:
    """Serve traffic until told to stop (SIGTERM drains, SIGHUP reloads)."""
    from bascule.cli.run import run as serve

    raise typer.Exit(serve(config, workers, strict))


@app.command()
def check(
    config: ConfigOption = None,
    files: Annotated[Optional[list[Path]], typer.Argument(help="apisix.yaml or apisix.json files")] = None,  # noqa: UP045
) -> None:
    """Check configuration files; every error is printed, the exit code is 1 if there is any."""
    from bascule.cli.check import check as look

    raise typer.Exit(look(config, files or []))


@app.command()
def version() -> None:
    """Print the version, and which modules are compiled."""
    from bascule.cli.version import version as tell

    raise typer.Exit(tell())


def main() -> None:
    """Entry point; what is wrong with the installation is told in one line."""
    try:
        app()
    except ImportError as error:
        name = getattr(error, "name", None) or ""
        if name.startswith("bascule.") or "bascule" in str(error):
            print(f"bascule: the installation is incomplete: {error}; build it again with pip install", file=sys.stderr)
            raise SystemExit(1) from None
        raise
