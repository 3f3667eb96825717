"""Run rayreel's jobs on a KubeRay cluster: python k8s/submit.py train --overlay gpu --set train.epochs=20 --follow."""

import re
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from rayjobs import RayJobs, RayJobState, connect
from rayreel.errors import RayreelError
from rendering import JOBS, Manifest, overlays, read_job, rendered_job, tailored

Overlay = Annotated[str, typer.Option(help=f"One of k8s/overlays: {', '.join(overlays())}.")]
Template = Annotated[Path | None, typer.Option(help="A rendered RayJob to use instead of an overlay's.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PART.KEY=VALUE", help="One setting, such as train.epochs=20. May be repeated."),
]
Name = Annotated[str | None, typer.Option(help="Name of the RayJob.", show_default="the job and a random suffix")]
Follow = Annotated[
    bool, typer.Option("--follow", help="Print the job's output, and exit with its status when it ends.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the RayJob and create nothing.")]
Kubeconfig = Annotated[str | None, typer.Option(show_default="$KUBECONFIG, ~/.kube/config, or this pod's cluster")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default="its current one")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", show_default="rayreel")]
Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="Options of the job itself, after --.")
]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the RayJob, as `list` shows it.")]

# The last lines of the log may arrive after the last state.
DRAIN_S = 20

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", help=__doc__)
console = Console(soft_wrap=True, highlight=False)


def submitting(job: str) -> Callable[..., None]:
    """Return the command that submits this job."""

    def submit(  # noqa: PLR0917
        arguments: Arguments = None,
        overlay: Overlay = "local",
        template: Template = None,
        sets: Sets = None,
        name: Name = None,
        follow: Follow = False,
        dry_run: DryRun = False,
        kubeconfig: Kubeconfig = None,
        context: Context = None,
        namespace: Namespace = None,
    ) -> None:
        check_settings(sets or [])
        manifest = read_job(template) if template else rendered_job(job, overlay)
        wanted = tailored(manifest, name or f"{job}-{secrets.token_hex(4)}", sets or [], arguments or [])
        if dry_run:
            typer.echo(yaml.safe_dump(wanted, sort_keys=False))
            return
        jobs = connect(kubeconfig, context, namespace)
        state = jobs.create(wanted)
        console.print(f"[bold cyan]▸[/] {state.name} in {jobs.namespace}: ", end="")
        console.print(wanted["spec"]["entrypoint"], markup=False)
        if follow:
            raise typer.Exit(followed(jobs, state.name))
        console.print(f"Next:  python k8s/submit.py logs {state.name} --follow")

    submit.__doc__ = f"Submit jobs/{job}.py as a RayJob, in a Ray cluster of its own."
    return submit


for _job in JOBS:
    app.command(_job)(submitting(_job))


@app.command("list")
def list_jobs(kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None) -> None:
    """Show all jobs, newest first."""
    table = Table("name", "job", "state", "since")
    for state in connect(kubeconfig, context, namespace).all():
        table.add_row(state.name, state.job, state.line(), state.created)
    console.print(table)


@app.command()
def status(name: JobName, kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None) -> None:
    """Show a job. Exits with the job's status if it failed."""
    state = connect(kubeconfig, context, namespace).state(name)
    show(state)
    raise typer.Exit(exit_code(state) if state.ended else 0)


@app.command()
def logs(
    name: JobName,
    follow: Annotated[
        bool, typer.Option("--follow", help="Continue to the job's end, and exit with its status.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Print the output of a job's driver."""
    jobs = connect(kubeconfig, context, namespace)
    if follow:
        raise typer.Exit(followed(jobs, name))
    for line in jobs.log(name):
        typer.echo(line)


@app.command()
def stop(name: JobName, kubeconfig: Kubeconfig = None, context: Context = None, namespace: Namespace = None) -> None:
    """Stop a job and delete it with its cluster. Its results stay; when submitted again, it continues from there."""
    connect(kubeconfig, context, namespace).delete(name)
    console.print(f"{name} is being deleted; its pods end within a minute.")


@app.command()
def publish(
    overlay: Overlay,
    sets: Sets = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Write the overlay's RayJobs to the cluster, for the schedule (CronJob rayreel-refresh)."""
    check_settings(sets or [])
    files = {f"{job}.yaml": yaml.safe_dump(with_settings(rendered_job(job, overlay), sets or [])) for job in JOBS}
    jobs = connect(kubeconfig, context, namespace)
    jobs.publish("rayreel-jobs", files)
    console.print(f"ConfigMap rayreel-jobs in {jobs.namespace}: {', '.join(sorted(files))} of {overlay}")


def with_settings(manifest: Manifest, sets: list[str]) -> Manifest:
    """Return the job with these settings added to its command."""
    return tailored(manifest, manifest["metadata"]["name"], sets, [])


def check_settings(sets: list[str]) -> None:
    """Check settings before a cluster is started, which takes minutes. Raises SettingsError."""
    if sets:
        from rayreel.settings import load_settings

        load_settings(None, sets)


def followed(jobs: RayJobs, name: str) -> int:
    """Print states and output until the job ends, and return its exit status."""
    reader = threading.Thread(target=_print_log, args=(jobs, name), daemon=True)
    reader.start()
    for state in jobs.states(name):
        console.print(f"[dim]{state.line()}[/]")
    reader.join(DRAIN_S)
    show(state)
    return exit_code(state)


def _print_log(jobs: RayJobs, name: str) -> None:
    try:
        for line in jobs.log(name, follow=True):
            typer.echo(line)
    except RayreelError as error:
        # The job can be followed without its output.
        console.print(f"[yellow]no output: {error}[/]")


def show(state: RayJobState) -> None:
    """Print the state of a job."""
    colour = "green" if state.succeeded else "red" if state.ended else "cyan"
    console.print(f"[{colour}]{state.name}: {state.line()}[/]")
    if state.message:
        console.print(state.message, markup=False)


def exit_code(state: RayJobState) -> int:
    """Return 0 for success, else the driver's exit status if the operator reports it, or 1."""
    if state.succeeded:
        return 0
    reported = re.search(r"exit code (\d+)", state.message)
    return int(reported.group(1)) or 1 if reported else 1


def main() -> None:
    """Run a command. Expected errors are printed without a traceback, with exit status 1."""
    try:
        app()
    except RayreelError as error:
        console.print(f"[bold red]{type(error).__name__}:[/] ", end="")
        console.print(str(error), markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
