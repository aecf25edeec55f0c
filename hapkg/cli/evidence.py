"""hapkg rebuild, verify, sbom: what is published, made once more, link by link, and of what."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.run import tidy_layers
from hapkg.cli import output
from hapkg.cli.options import (
    CheckKeyOption,
    JobsOption,
    JsonOption,
    KeyringOption,
    NamesArgument,
    RepoOption,
    SuiteOption,
)
from hapkg.cli.target import find_own_memory, make_choice, make_identity, open_root
from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.errors import ConfigError, IntegrityError, UsageError
from hapkg.evidence.spdx import make_spdx
from hapkg.evidence.suite_sbom import read_suite_sbom
from hapkg.host import count_cores
from hapkg.rebuild.keyring import rebuild_keyring
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
from hapkg.recipe.collection import read_collection
from hapkg.recipe.settings import Project
from hapkg.repository.documents.names import SUITE_SBOM
from hapkg.repository.documents.suite import read_documents
from hapkg.repository.indexes import find_newest, find_suites, read_indexes, read_release
from hapkg.repository.trust import open_keyring
from hapkg.source.lockfile import read_lock
from hapkg.verification.chain import check_suite
from hapkg.verification.links import ChainLink, LinkName, LinkState, SuiteChain, find_first_break
from hapkg.verification.source_links import Checkout, judge_source

app = typer.Typer()


class Form(StrEnum):
    """The words in which an SBOM is printed."""

    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"


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
        name = f"{prefix}archive-keyring"
        keyring = rebuild_keyring(store, root, chosen, name, make_identity(project)) if root and everything else ()
        rebuilt = rebuild_all(store, subjects, project.distributions[chosen], chosen, options)
        for outcome in itertools.chain(keyring, rebuilt):
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
        return f"{outcome.source}: {outcome.label}: cannot be rebuilt"
    differing = [package.file for package in outcome.packages if not package.identical]
    ending = f"differs: {', '.join(differing)}" if differing else f"{len(outcome.packages)} packages, bit-identical"
    return f"{outcome.source}: {outcome.label}: {ending} ({output.duration(outcome.seconds)})"


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
                    "source": outcome.source,
                    "version": outcome.version,
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


@app.command()
def verify(
    context: typer.Context,
    place: Annotated[
        str | None,
        typer.Argument(help="A repository, or a .deb [default: the project's repository].", metavar="REPO|FILE.deb"),
    ] = None,
    repo: RepoOption = None,
    key: CheckKeyOption = None,
    keyring: KeyringOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="A link that is absent is a fault, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the chain of evidence of every package, from Release's signature to upstream's.

    Needs the repository and a keyring; in a checkout, lock and upstream's signature are compared as well. Asks no
    network. Exit code 0: no link breaks; 7: one does, and the first one is named.
    """
    deb = Path(place) if place and place.endswith(".deb") else None
    if deb is not None and not deb.is_file():
        raise UsageError(f"{deb} does not exist", hint="name a package file, or a repository")
    digest = sha256_file(deb) if deb else ""
    where = repo if deb else place or repo
    choice = make_choice(context, key, unsigned=False)
    with open_keyring(choice, keyring) as keys, open_root(context, where) as root:
        memory, state = find_own_memory(context, where, choice), context.obj.store.state
        chains = [
            check_suite(
                root,
                suite,
                keys,
                memory=memory,
                judge=partial(judge_source, state, _open_checkout(context, suite)),
                wanted=lambda package: not digest or digest in {found for _, found in package.files.values()},
            )
            for suite in find_suites(root)
        ]
    if as_json:
        output.print_json([asdict(chain) for chain in chains])
    else:
        _print_chains(chains)
    _judge_chains(chains, deb, strict=strict)


@app.command()
def sbom(
    context: typer.Context,
    suite: Annotated[
        str | None,
        typer.Option("--suite", "-s", help="Suite [default: the one that is published alone].", metavar="SUITE"),
    ] = None,
    repo: RepoOption = None,
    form: Annotated[Form, typer.Option("--format", help="CycloneDX 1.6 or SPDX 2.3.")] = Form.CYCLONEDX,
) -> None:
    """Print the SBOM of a published suite: CycloneDX, or SPDX on request.

    It has every source and package, what each is made of, and what it needs of the suite.
    """
    with open_root(context, repo) as root:
        suites = find_suites(root)
        chosen = Suite(suite) if suite else suites[0]
        if chosen not in suites or (not suite and len(suites) > 1):
            raise UsageError(f"name one suite: {', '.join(suites)}", hint="hapkg sbom --suite SUITE")
        found = read_documents(root, chosen, read_indexes(root, chosen))
    if SUITE_SBOM not in found:
        raise UsageError(f"{chosen} has no SBOM", hint="hapkg publish makes one of builds of this hapkg")
    if form is Form.CYCLONEDX:
        output.print_json(json.loads(found[SUITE_SBOM]))
        return
    try:
        entries = read_suite_sbom(found[SUITE_SBOM])
        origin = read_release(find_newest(root, chosen)).get("Origin", "")
        output.print_json(make_spdx(origin, chosen, entries))
    except (ValueError, KeyError, TypeError) as cause:
        raise IntegrityError(f"the SBOM of {chosen} is damaged: {cause}", hint="hapkg verify") from cause


def _print_chains(chains: Sequence[SuiteChain]) -> None:
    """A row for each suite and each package, a column for each link; then why links are absent."""
    names = [name for name in LinkName if any(_pick(chain, name) for chain in chains)]
    rows = []
    for chain in chains:
        rows.append((chain.suite, "", *(_mark(chain.links, name) for name in names)))
        rows += [(one.package, one.version, *(_mark(one.links, name) for name in names)) for one in chain.packages]
    output.print_table(("package", "version", *names), rows)
    told: dict[str, list[str]] = {}
    for chain in chains:
        for what, link in ((chain.suite, link) for link in chain.links):
            if link.state is not LinkState.HOLDS:
                told.setdefault(f"{link.name} {link.state}: {link.told}", []).append(what)
        for one in chain.packages:
            for link in one.links:
                if link.state is not LinkState.HOLDS:
                    told.setdefault(f"{link.name} {link.state}: {link.told}", []).append(one.package)
    for line, whose in told.items():
        output.say(f"{line} ({', '.join(whose[:3])}{f' and {len(whose) - 3} more' if whose[3:] else ''})")


def _pick(chain: SuiteChain, name: LinkName) -> list[ChainLink]:
    links = [link for one in chain.packages for link in one.links]
    return [link for link in (*chain.links, *links) if link.name is name]


def _mark(links: Sequence[ChainLink], name: LinkName) -> str:
    """The worst of a link's states, as awk can take it."""
    states = {link.state for link in links if link.name is name}
    marks = {LinkState.BREAKS: "BREAKS", LinkState.ABSENT: "absent", LinkState.HOLDS: "ok"}
    return next((mark for state, mark in marks.items() if state in states), "-")


def _judge_chains(chains: Sequence[SuiteChain], deb: Path | None, *, strict: bool) -> None:
    if broken := find_first_break(chains):
        what, link = broken
        raise IntegrityError(
            f"link {link.name} of {what} breaks: {link.told}",
            details=[link.meaning],
            hint="trust nothing of it until you know who changed it: compare with a copy, or with another mirror",
        )
    if deb is not None and not any(chain.packages for chain in chains):
        raise IntegrityError(
            f"no suite of the repository has {deb.name} with these bytes",
            hint="it was changed, is of another repository, or is published no more",
        )
    links = [link for chain in chains for name in LinkName for link in _pick(chain, name)]
    if strict and (absent := sorted({link.name for link in links if link.state is LinkState.ABSENT})):
        raise IntegrityError(f"links are absent: {', '.join(absent)}", hint="the lines above say of what, and why")


def _open_checkout(context: typer.Context, suite: Suite) -> Checkout | None:
    """Recipes and lock of the checkout that this is run in, where it is one that can be read."""
    try:
        project: Project = context.obj.project
    except ConfigError:
        return None
    lock = read_lock(project.root, Suite(suite.partition("-")[0]))
    return Checkout(recipes=read_collection(project).recipes, lock=lock)
