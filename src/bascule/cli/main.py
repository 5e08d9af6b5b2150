"""The command `bascule`."""

from __future__ import annotations

from enum import StrEnum
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
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="don't ask")]
CheckOption = Annotated[
    bool, typer.Option("--check", help="only show the plan; exit code 2 when there is something to do")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
imports = typer.Typer(no_args_is_help=True, help="Make resources from other descriptions.")
app.add_typer(imports, name="import")


class Format(StrEnum):
    yaml = "yaml"
    json = "json"


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
def history(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="how many revisions")] = 20,
    before: Annotated[int | None, typer.Option(help="only older ones than this revision")] = None,
    prefix: Annotated[str, typer.Option(help="only those that changed such a resource, e.g. routes/ or routes/1")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show who changed what and when, newest first."""
    from bascule.cli.history import history as show

    raise typer.Exit(show(config, limit=limit, before=before, prefix=prefix, as_json=as_json))


@app.command()
def diff(
    first: Annotated[int | None, typer.Argument(metavar="[REVISION", min=0)] = None,
    second: Annotated[int | None, typer.Argument(metavar="[REVISION]]", min=0)] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the latest revision changed; or what is different now from a revision; or between two."""
    from bascule.cli.diff import diff as show

    raise typer.Exit(show(config, first, second, as_json=as_json))


@app.command()
def rollback(
    revision: Annotated[int, typer.Argument(min=0)],
    config: ConfigOption = None,
    yes: YesOption = False,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the resources of an older revision in place again, as a new revision."""
    from bascule.cli.rollback import rollback as go_back

    raise typer.Exit(go_back(config, revision, yes=yes, check=check, as_json=as_json))


@app.command()
def export(
    config: ConfigOption = None,
    format: Annotated[Format, typer.Option(help="of the document")] = Format.yaml,
    revision: Annotated[int | None, typer.Option(min=0, help="as it was then")] = None,
    times: Annotated[bool, typer.Option("--times", help="with create_time and update_time")] = False,
    hide_secrets: Annotated[bool, typer.Option("--hide-secrets", help="****** instead; apply keeps those")] = False,
) -> None:
    """Print the whole configuration as a standalone document, to be kept, applied or served."""
    from bascule.cli.export import export as show

    raise typer.Exit(show(config, format=format.value, revision=revision, times=times, hide_secrets=hide_secrets))


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="a standalone document, YAML or JSON; - for standard input")],
    config: ConfigOption = None,
    yes: YesOption = False,
    check: CheckOption = False,
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="delete what the file doesn't have")] = True,
    note: Annotated[str, typer.Option(help="for the history")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make the configuration what a file says: the plan is shown, then done in one step when you agree."""
    from bascule.cli.apply import apply as carry_out

    raise typer.Exit(carry_out(config, file, yes=yes, check=check, prune=prune, note=note, as_json=as_json))


@imports.command("openapi")
def import_openapi(
    file: Annotated[Path, typer.Argument(help="OpenAPI 3.0 or 3.1, YAML or JSON; - for standard input")],
    config: ConfigOption = None,
    name: Annotated[str | None, typer.Option(help="begins every id; by default the document's title")] = None,
    upstream: Annotated[str | None, typer.Option(help="http://host:port instead of the document's servers")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="create and change these resources; others stay")] = False,
    yes: YesOption = False,
    format: Annotated[Format, typer.Option(help="of the document that is printed")] = Format.yaml,
) -> None:
    """Make a service, and a route for each operation that checks requests; printed as a standalone document."""
    from bascule.cli.import_openapi import import_file

    raise typer.Exit(import_file(config, file, name=name, upstream=upstream, apply=apply, yes=yes, format=format.value))


@app.command()
def version() -> None:
    """Print the version, and which modules are compiled."""
    from bascule.cli.version import version as tell

    raise typer.Exit(tell())


@app.command()
def explain(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    url: Annotated[str, typer.Argument(help="http://host/path?query, or a path alone")],
    config: ConfigOption = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help='"Name: value"; more than once')] = None,
    client: Annotated[str, typer.Option(help="the client's address")] = "127.0.0.1",
    consumer: Annotated[str | None, typer.Option(help="as if this consumer was authenticated")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what would happen to a request: which route and why not another, which plugins, which upstream."""
    from bascule.cli.explain import explain as tell

    raise typer.Exit(tell(config, method, url, headers=header or [], client=client, consumer=consumer, as_json=as_json))


@app.command("debug-token")
def debug_token(
    config: ConfigOption = None,
    valid_for: Annotated[str, typer.Option("--for", help="how long it is good, e.g. 10m")] = "10m",
) -> None:
    """Print a token: a request with it in X-Bascule-Debug gets told in X-Bascule-Trace what each plugin decided."""
    from bascule.cli.explain import debug_token as tell

    raise typer.Exit(tell(config, valid_for))


def main() -> None:
    """Entry point; what is wrong with the installation is told in one line."""
    try:
        app()
    except ImportError as error:
        if "bascule" not in f"{error.name} {error}":
            raise
        from bascule.cli.refusal import fail

        raise SystemExit(fail(f"the installation is incomplete: {error}; build it again (pip install .)")) from None
