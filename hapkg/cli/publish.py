"""hapkg publish: the finished builds, as a signed apt repository.

A site that is published never takes the place of another cluster's unless a person says so.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.context import BuildContext, reopen_snapshots
from hapkg.build.documents.build_evidence import find_documents
from hapkg.build.plan import Action
from hapkg.build.planner import follow, make_plan
from hapkg.build.store import Artifact, Store
from hapkg.cli import output
from hapkg.cli.options import (
    DryRunOption,
    JsonOption,
    KeyOption,
    RepoOption,
    SharedOption,
    SiteOption,
    UnsignedOption,
    UrlOption,
    WaitOption,
)
from hapkg.cli.select import newest_builds, open_suite
from hapkg.cli.target import check_address, check_url, find_location, find_own_memory, make_choice, make_target
from hapkg.control import TARBALLS, SourceName, Suite, compare_versions
from hapkg.currency.claims import make_claims
from hapkg.currency.promises import tell_not_newer
from hapkg.deb import read_members, read_text
from hapkg.errors import RepositoryError, UsageError
from hapkg.recipe.settings import Project, Settings
from hapkg.recipe.style import SITE
from hapkg.repository.indexes import IndexedPackage, read_pool
from hapkg.repository.last_published import read_published
from hapkg.repository.publishing import preview, publish_with_keyring
from hapkg.repository.remote.sync import open_repository
from hapkg.repository.upload import Upload, name_suite

app = typer.Typer()
SNAPSHOTS = "snapshots"
"""The pocket of builds from upstream's own repositories."""
_FACTS = "ha-stack/site.json"


@app.command()
def publish(
    context: typer.Context,
    repo: RepoOption = None,
    suite: Annotated[
        str | None,
        typer.Option("--suite", "-s", help="Suite [default: all that something is built for].", metavar="SUITE"),
    ] = None,
    pocket: Annotated[
        str | None,
        typer.Option(
            help="Publish as SUITE-POCKET; repo promote brings it to SUITE. snapshots takes what was built from "
            "upstream's repositories last.",
            metavar="POCKET",
        ),
    ] = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    site: SiteOption = None,
    replace_site: Annotated[
        bool,
        typer.Option("--replace-site", help="Let a site take the place of another cluster's in the repository."),
    ] = False,
    wait: WaitOption = 0,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the finished builds into a signed apt repository, at once or not at all."""
    if pocket and not re.fullmatch("[a-z0-9]+", pocket):
        raise UsageError(f"{pocket!r} is no name of a pocket", hint="use small letters and digits: testing")
    check_address(url)
    project: Project = context.obj.project
    store: Store = context.obj.store
    built = {str(artifact.suite) for artifact in store.list_builds()}
    suites = [suite] if suite else [name for name in project.settings.suites if name in built]
    if not suites:
        raise RepositoryError("nothing is built yet", hint="run: hapkg build-all")
    build_contexts = [open_suite(context, name, site) for name in suites]
    if pocket == SNAPSHOTS:
        build_contexts = _reopen_snapshots(build_contexts)
        suites = [str(build_context.suite) for build_context in build_contexts]
    collected = [collect_builds(build_context) for build_context in build_contexts]
    uploads, claims = [], {}
    for build_context, artifacts in zip(build_contexts, collected, strict=True):
        followers = collect_followers(build_context) if pocket != SNAPSHOTS else {}
        _note_site(build_context)
        _note_promise(build_context, {artifact.source for artifact in artifacts})
        uploads += [make_upload(build_context, one, followers.get(one.source, ())) for one in artifacts]
        claims[build_context.suite] = make_claims(build_context, artifacts)
    location, choice = find_location(context, repo), make_choice(context, key, unsigned)
    if dry_run:
        with open_repository(location, store.state, change=False, timeout=wait) as root:
            if not replace_site:
                check_identities(root, build_contexts, pocket or "")
            output.print_preview(preview(root, uploads, pocket=pocket or ""), as_json=as_json)
        return
    memory = find_own_memory(context, repo, choice)
    with memory.keep() as states, open_repository(location, store.state, change=True, timeout=wait) as root:
        check_url(project, root, location, url)
        if not replace_site:
            check_identities(root, build_contexts, pocket or "")
        publication = publish_with_keyring(
            make_target(project, root, choice, url, wait, shared=shared, memory=memory),
            uploads,
            [Suite(name) for name in suites],
            package=f"{project.settings.package_prefix}archive-keyring",
            pocket=pocket or "",
            claims=claims,
        )
        states.update(read_published(root))
    output.print_publication(publication, as_json=as_json)
    for line in tell_packages(build_contexts):
        output.say(line)


def _reopen_snapshots(build_contexts: Sequence[BuildContext]) -> list[BuildContext]:
    """The contexts of the last run with snapshots, of suites that had one. Raises RepositoryError where none had."""
    found = []
    for build_context in build_contexts:
        with build_context.store.lock():
            found.append(reopen_snapshots(build_context))
    taken = [build_context for build_context in found if build_context is not None]
    if not taken:
        raise RepositoryError(
            f"no snapshot was built for {' or '.join(build_context.suite for build_context in build_contexts)}",
            hint="run: hapkg build-all --snapshot",
        )
    return taken


def collect_builds(context: BuildContext) -> tuple[Artifact, ...]:
    """The finished builds of the recipes as they stand now, verified.

    Sources whose recipe is wrong, and those that need them, are left out, and named: the repository keeps what it has
    of them. An optional source that the project does not name is taken where it was built. Raises RepositoryError when
    another one is not built: a part of a stack would not install.
    """
    steps = make_plan(context)
    for step in steps:
        if step.action is Action.LEAVE_OUT:
            output.say(f"note: {step.source} is left out: {step.reason}")
    steps = tuple(step for step in steps if step.action is not Action.LEAVE_OUT)
    missing = [f"{step.source}: {step.reason}" for step in steps if step.artifact is None]
    if missing:
        raise RepositoryError(
            f"{len(missing)} of {len(steps)} sources are not built for {context.suite} as their recipes stand now",
            details=missing,
            hint=f"run: hapkg build-all --suite {context.suite}{' --snapshot' if context.requests else ''}",
        )
    others = [name for name in context.recipes if name not in {step.source for step in steps}]
    steps += tuple(step for step in make_plan(context, others) if step.source in others)
    artifacts = tuple(step.artifact for step in steps if step.artifact is not None)
    for artifact in artifacts:
        context.store.verify(artifact)
    return artifacts


def collect_followers(context: BuildContext) -> dict[SourceName, list[tuple[BuildContext, Artifact]]]:
    """Builds for the project's further architectures, by source, each with its context. Raises as collect_builds()."""
    found: dict[SourceName, list[tuple[BuildContext, Artifact]]] = defaultdict(list)
    for architecture in context.project.settings.architectures:
        foreign = follow(context, architecture)
        for artifact in collect_builds(foreign):
            found[artifact.source].append((foreign, artifact))
    return found


def make_upload(
    context: BuildContext, artifact: Artifact, followers: Sequence[tuple[BuildContext, Artifact]] = ()
) -> Upload:
    """The upload of a build: its packages, its source and its documents, and what those that follow it add to them."""
    files: dict[str, Path] = {}
    for its_context, build in ((context, artifact), *followers):
        for path in (*build.paths(".deb", ".dsc", *TARBALLS), *find_documents(its_context, build)):
            files.setdefault(path.name, path)
    return Upload(suite=artifact.suite, source=artifact.source, files=tuple(files.values()))


def _note_promise(build_context: BuildContext, published: Collection[SourceName]) -> None:
    """Say which of the published sources are not newer than the suite's own, as far as that was asked."""
    recipes = [recipe for recipe in build_context.recipes.values() if recipe.upstream and recipe.name in published]
    versions = [(recipe.name, recipe.version) for recipe in recipes]
    if told := tell_not_newer(build_context.store.state, build_context.suite, versions):
        output.say(f"note: {told}")


def _note_site(build_context: BuildContext) -> None:
    """Say what is easily missed: a site that was built, and is not published because nobody named its file."""
    common = build_context.project.settings.site_package
    known = {*build_context.recipes, *build_context.blocked}
    for name in newest_builds(build_context):
        if name.startswith(f"{common}-") and name not in known:
            output.say(
                f"note: {name} was built for {build_context.suite} and is not published: name its file with --site"
            )


@dataclass(frozen=True, kw_only=True)
class PublishedSite:
    """The cluster that a published package configures."""

    package: str
    cluster: str
    nodes: frozenset[str]


def check_identities(root: Path, contexts: Sequence[BuildContext], pocket: str) -> None:
    """Raise RepositoryError when a site to be published has the package of another cluster in the repository.

    It is another one that has another name, or none of the same nodes.
    """
    for context in contexts:
        published = {site.package: site for site in _read_sites(root, context.project.settings, context.suite, pocket)}
        for recipe in context.recipes.values():
            if recipe.style.name != SITE:
                continue
            site = recipe.values["site"]
            nodes = {node.name for node in site.nodes}
            for package in recipe.packages:
                there = published.get(package.package)
                if there is None or (there.cluster == site.cluster.name and there.nodes & nodes):
                    continue
                raise RepositoryError(
                    f"{package.package} of the repository is the cluster {there.cluster} ({_list(there.nodes)}), and "
                    f"{site.cluster.name} ({_list(nodes)}) would replace it on those nodes",
                    hint="give each cluster a file in the folder sites; or, if that cluster is gone: --replace-site",
                )


def tell_packages(contexts: Sequence[BuildContext]) -> tuple[str, ...]:
    """Lines that say which package is for the nodes of which cluster."""
    found: dict[str, str] = {}
    for context in contexts:
        stack = f"{context.project.settings.package_prefix}stack"
        for recipe in context.recipes.values():
            if recipe.style.name == SITE:
                cluster = recipe.values["site"].cluster.name
                found[recipe.name] = f"on the nodes of {cluster}: apt install {stack} {recipe.name}"
    return tuple(found.values())


def _read_sites(root: Path, settings: Settings, suite: Suite, pocket: str) -> Iterator[PublishedSite]:
    """The sites that a suite offers, each by its newest package; a package that only brings another is as that."""
    common = settings.site_package
    newest: dict[str, IndexedPackage] = {}
    for package in read_pool(root, name_suite(suite, pocket)).packages:
        if (package.name == common or package.name.startswith(f"{common}-")) and package.architecture != "source":
            before = newest.get(package.name)
            if before is None or compare_versions(before.version, package.version) < 0:
                newest[package.name] = package
    found: dict[str, PublishedSite] = {}
    for name, package in newest.items():
        path = root / next(iter(package.files))
        if site := _read_site(path, name):
            found[name] = site
    for name, package in newest.items():
        brought = package.fields.get("Depends", "").split(" ")[0].rstrip(",")
        if name not in found and brought in found:
            found[name] = PublishedSite(package=name, cluster=found[brought].cluster, nodes=found[brought].nodes)
    yield from found.values()


def _read_site(deb: Path, name: str) -> PublishedSite | None:
    """Read what a package says of its cluster; None where it says nothing. Raises RepositoryError for a damaged one."""
    try:
        for member, content in read_members(deb, "data"):
            if content is not None and member.name.endswith(_FACTS):
                facts = json.loads(read_text(content))
                nodes = frozenset(str(node["name"]) for node in facts["nodes"])
                return PublishedSite(package=name, cluster=str(facts["cluster"]), nodes=nodes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RepositoryError(
            f"{deb} cannot be read: {error!r}", hint="hapkg repo verify tells what else is damaged"
        ) from error
    return None


def _list(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names))
