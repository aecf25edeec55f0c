"""hapkg prove, rebuild: what was published, on real kernels, and once more from its source packages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from hapkg.apt import Mirror, find_mirror
from hapkg.build.run import tidy_layers
from hapkg.build.store import Store
from hapkg.cli import output
from hapkg.cli.options import JobsOption, JsonOption, MirrorOption, NamesArgument, RepoOption, SuiteOption
from hapkg.cli.target import open_root
from hapkg.control import Suite
from hapkg.errors import UsageError
from hapkg.host import count_cores
from hapkg.prove.proof import ProofOptions, check_proof, run_proof
from hapkg.prove.runner import StepEnding, StepResult
from hapkg.prove.testbed import Offer, name_result, read_offer
from hapkg.prove.vm import probe_accelerator
from hapkg.prove.vm_image import GuestImage, find_image, make_image
from hapkg.rebuild.rebuild import (
    AS_IT_WAS,
    RebuildOptions,
    RebuildOutcome,
    check_outcomes,
    make_table,
    rebuild_all,
)
from hapkg.rebuild.subject import read_repository, read_store
from hapkg.rebuild.variations import VARIATIONS, choose
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
    with resources.as_file(built_in) as own:
        cluster = read_site(site or own)
    offer = read_offer((repo or project.repository).absolute(), chosen)
    image = _prepare_image(context.obj.store, offer, find_mirror(mirror, project.distributions[chosen]))
    began = datetime.now(UTC)
    options = ProofOptions(accelerator=probe_accelerator(image), began=began, short=short, keep=keep)
    folder = name_result((result or project.root / "prove").absolute(), chosen, f"{began:%Y%m%dT%H%M%SZ}")
    folder.mkdir(parents=True)
    output.say(f"two machines of {chosen}, {image.kernel_version}, {options.accelerator}; results: {folder}")
    if not short and not offer.older:
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


@app.command()
def rebuild(
    context: typer.Context,
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="All source packages.")] = False,
    repo: RepoOption = None,
    suite: SuiteOption = None,
    vary: Annotated[
        bool, typer.Option("--vary", help=f"Once more with all variations: {', '.join(VARIATIONS)}.")
    ] = False,
    variation: Annotated[
        list[str] | None, typer.Option("--variation", help="Once more with this one; may be repeated.", metavar="NAME")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Once more for each variation, not for all at once.")] = False,
    tests: Annotated[bool, typer.Option(help="Run upstream's tests again.")] = False,
    jobs: JobsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build again from .dsc and .buildinfo, with exactly the packages that these name, and compare every byte."""
    if bool(names) == everything:
        raise UsageError("rebuild takes names or --all", hint="hapkg rebuild --all, or hapkg rebuild NAME")
    project: Project = context.obj.project
    chosen, prefix = project.pick_suite(suite), project.settings.package_prefix
    store = context.obj.store.narrow(chosen)
    options = RebuildOptions(
        variations=choose(variation or (), vary),
        each=each,
        tests=tests,
        jobs=jobs or count_cores(),
        limits=project.settings.limits,
    )
    outcomes: list[RebuildOutcome] = []
    with (
        open_root(context, repo) if repo else nullcontext(None) as root,
        store.lock(partial(tidy_layers, store)),
    ):
        subjects = (
            read_repository(root, chosen, names or (), prefix)
            if root
            else read_store(store.list_builds(), chosen, names or (), prefix)
        )
        for outcome in rebuild_all(store, subjects, project.distributions[chosen], chosen, options):
            outcomes.append(outcome)
            output.say(_tell_rebuild(outcome))
    _show_rebuilds(outcomes, chosen, as_json=as_json)
    for outcome in outcomes:
        if outcome.error is not None:
            output.print_error(outcome.error)
    check_outcomes(outcomes)
    for outcome in outcomes:
        if outcome.error is not None:
            raise typer.Exit(outcome.error.exit_code)


def _tell_rebuild(outcome: RebuildOutcome) -> str:
    if outcome.error is not None:
        return f"{outcome.subject.source}: {outcome.label}: cannot be rebuilt"
    differing = [package.file for package in outcome.packages if not package.identical]
    ending = f"differs: {', '.join(differing)}" if differing else f"{len(outcome.packages)} packages, bit-identical"
    return f"{outcome.subject.source}: {outcome.label}: {ending} ({output.duration(outcome.seconds)})"


def _show_rebuilds(outcomes: Sequence[RebuildOutcome], suite: Suite, *, as_json: bool) -> None:
    table = make_table(outcomes)
    if not as_json:
        columns = [name for name in (AS_IT_WAS, *VARIATIONS) if any(name in row for row in table.values())]
        rows = [(name, *(row.get(column, "-") for column in columns)) for name, row in sorted(table.items())]
        output.print_table(("package", *columns), rows)
        return
    output.print_json(
        {
            "suite": suite,
            "table": table,
            "rebuilds": [
                {
                    "source": outcome.subject.source,
                    "version": outcome.subject.info.version,
                    "variations": outcome.variations,
                    "seconds": round(outcome.seconds, 1),
                    "identical": outcome.identical,
                    "error": outcome.error.brief if outcome.error else None,
                    "log": str(outcome.log) if outcome.log else None,
                    "packages": [
                        {
                            "file": package.file,
                            "sha256": package.sha256,
                            "found": package.found,
                            "identical": package.identical,
                            "report": str(package.report) if package.report else None,
                        }
                        for package in outcome.packages
                    ],
                }
                for outcome in outcomes
            ],
        }
    )
