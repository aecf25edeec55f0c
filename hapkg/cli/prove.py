"""hapkg prove: what is published, on real kernels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hapkg.apt.mirror import Mirror, find_mirror
from hapkg.build.store import Store
from hapkg.cli import output
from hapkg.cli.options import (
    JsonOption,
    MirrorOption,
    SuiteOption,
)
from hapkg.locations import DATA
from hapkg.prove.proof import ProofOptions, check_proof, run_proof
from hapkg.prove.runner import StepEnding, StepResult
from hapkg.prove.scenario import choose_steps
from hapkg.prove.testbed import Offer, read_offer
from hapkg.prove.vm import probe_accelerator
from hapkg.prove.vm_image import GuestImage, find_image, make_image
from hapkg.recipe.settings import Project
from hapkg.site.model import read_site

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
    step: Annotated[
        list[str] | None,
        typer.Option(help="Only this step, once the cluster is formed; may stand there again.", metavar="NAME"),
    ] = None,
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
    cluster = read_site(site or DATA / "prove.site.toml")
    offer = read_offer((repo or project.repository).absolute(), chosen)
    steps = choose_steps(short=short, upgrade=bool(offer.older), names=step or ())
    archive = find_mirror(mirror, project.distributions[chosen], state=context.obj.store.state, suite=chosen)
    image = _prepare_image(context.obj.store, offer, archive)
    began = datetime.now(UTC)
    options = ProofOptions(accelerator=probe_accelerator(image), began=began, short=short, keep=keep, steps=steps)
    folder = (result or project.root / "prove").absolute() / f"{chosen}-{began:%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True)
    output.say(f"two machines of {chosen}, {image.kernel_version}, {options.accelerator}; results: {folder}")
    if not short and not step and not offer.older:
        output.say("the repository offers one version of ha-stack: there is nothing to upgrade from")
    proof = run_proof(offer, cluster, image, folder, options, _show)
    if as_json:
        output.print_json(proof.data)
    output.say(f"report: {proof.page}")
    check_proof(proof)


def _prepare_image(store: Store, offer: Offer, archive: Mirror) -> GuestImage:
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


def _show(step: StepResult) -> None:
    if step.ending is StepEnding.NOT_REACHED:
        if step.started:  # one that only passes by, after a failure, was never started
            output.say(f"{step.title} …")
        return
    output.say(f"{step.title}: {step.ending}, {output.duration(step.seconds)}")
    for check in step.checks:
        output.say(f"  {'ok' if check.ok else 'NO'}  {check.claim}")
