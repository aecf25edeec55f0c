"""hapkg prove: what was published, on real kernels."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from hapkg.apt import find_mirror
from hapkg.build.store import Store
from hapkg.cli import output
from hapkg.cli.options import JsonOption, MirrorOption, SuiteOption
from hapkg.errors import ProofError
from hapkg.prove import scenario
from hapkg.prove.report import describe_proof, write_report
from hapkg.prove.runner import Ending, Record, tell
from hapkg.prove.testbed import Offer, make_scene, name_result, read_offer, take_stock
from hapkg.prove.vm import probe_accelerator
from hapkg.prove.vm_image import GuestImage, find_image, make_image
from hapkg.recipe.settings import Project
from hapkg.site.model import read_site

BUILT_IN = "data/prove.site.toml"

app = typer.Typer()


@app.command()
def prove(
    context: typer.Context,
    repo: Annotated[
        Path | None, typer.Option("--repo", help="Repository folder [default: ./apt].", metavar="DIR")
    ] = None,
    suite: SuiteOption = None,
    site: Annotated[
        Path | None,
        typer.Option(
            "--site", help="Site file of the published ha-stack-site [default: hapkg's own for this].", metavar="FILE"
        ),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Leave out what takes longest.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the machines' disks beside the report.")] = False,
    result: Annotated[
        Path | None, typer.Option(help="Where reports go, a folder for each [default: ./prove].", metavar="DIR")
    ] = None,
    mirror: MirrorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove on two throw-away machines that what a repository offers is a working cluster."""
    project: Project = context.obj.project
    chosen = project.pick_suite(suite)
    built_in = resources.files("hapkg").joinpath(BUILT_IN)
    with contextlib.ExitStack() as stack:
        path = site or stack.enter_context(resources.as_file(built_in))
        cluster = read_site(path)
        offer = read_offer((repo or project.repository).absolute(), chosen)
        image = _prepare_image(context.obj.store, offer, mirror)
        accelerator = probe_accelerator(image)
        began = datetime.now(UTC)
        folder = name_result((result or project.root / "prove").absolute(), chosen, f"{began:%Y%m%dT%H%M%SZ}")
        folder.mkdir(parents=True)
        output.say(f"two machines of {chosen}, {image.kernel_version}, {accelerator}; results: {folder}")
        scene = stack.enter_context(make_scene(offer, cluster, image, accelerator, folder, short=short, keep=keep))
        steps = scenario.choose_steps(short=short, upgrade=bool(offer.older))
        if not short and not offer.older:
            output.say("the repository offers one version of ha-stack: there is nothing to upgrade from")
        records: dict[str, Record] = {step.name: Record(name=step.name, title=step.title) for step in steps}
        try:
            for record in tell(steps, scene):
                records[record.name] = record
                _show(record)
                if record.ending is Ending.FAILED:
                    take_stock(scene)
        finally:
            proof = describe_proof(
                list(records.values()),
                scene.facts,
                suite=chosen,
                began=f"{began:%Y-%m-%d %H:%M:%S} UTC",
                accelerator=accelerator,
                short=short,
            )
            html, _ = write_report(folder, proof)
    if as_json:
        output.print_json(proof)
    output.say(f"report: {html}")
    failed = next((record for record in records.values() if record.ending is Ending.FAILED), None)
    if failed is not None:
        raise ProofError(f"{failed.title}: {failed.error[0]}", details=failed.error[1:], hint=f"look at {html}")


def _prepare_image(store: Store, offer: Offer, mirror: str | None) -> GuestImage:
    archive = find_mirror(mirror)
    found = find_image(store.state, offer.suite, offer.needs, archive)
    if found is None:
        with store.lock():
            log = store.state.logs / f"guest-{offer.suite}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as opened:
                found = make_image(
                    store.state,
                    offer.suite,
                    offer.needs,
                    archive,
                    log=opened,
                    report=lambda phase: output.say(f"guest image: {phase}"),
                )
    return found


def _show(record: Record) -> None:
    if record.ending is Ending.NOT_REACHED:
        if record.started:  # one that only passes by, after a failure, was never started
            output.say(f"{record.title} …")
        return
    output.say(f"{record.title}: {record.ending}, {output.duration(record.seconds)}")
    for check in record.checks:
        output.say(f"  {'ok' if check.ok else 'NO'}  {check.claim}")
