"""The command `bascule`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Bascule, an API gateway.",
)
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="config.yaml; without it, ./config.yaml or ./conf/config.yaml if there is one"),
]


@app.command()
def run(
    config: ConfigOption = None,
    workers: Annotated[str | None, typer.Option(help="number of worker processes, or auto")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="do not start with errors in the configuration")] = False,
    take_over: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve traffic until told to stop (SIGTERM drains, SIGHUP reloads)."""
    from bascule.cli.run import run as serve

    raise typer.Exit(serve(config, workers, strict, take_over))


@app.command()
def upgrade(
    config: ConfigOption = None,
    workers: Annotated[str | None, typer.Option(help="number of worker processes; without it as before")] = None,
) -> None:
    """Put this installation in the place of the gateway that runs, without refusing a connection."""
    from bascule.cli.upgrade import upgrade as take_over

    raise typer.Exit(take_over(config, workers))


@app.command()
def check(
    config: ConfigOption = None,
    files: Annotated[list[Path] | None, typer.Argument(help="apisix.yaml or apisix.json files")] = None,
) -> None:
    """Check configuration files; every error is printed, the exit code is 1 if there is any."""
    from bascule.cli.check import check as look

    raise typer.Exit(look(config, files or []))


@app.command()
def status(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything that the status server tells")] = False,
) -> None:
    """Tell how the running gateway is doing; the exit code is 0 if well, 1 if something is wrong, 2 if none runs."""
    from bascule.cli.status import status as ask

    raise typer.Exit(ask(config, as_json))


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
        if "bascule" not in f"{error.name} {error}":
            raise
        from bascule.cli.refusal import fail

        raise SystemExit(fail(f"the installation is incomplete: {error}; build it again (pip install .)")) from None
