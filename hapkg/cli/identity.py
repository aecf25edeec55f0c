"""A site that is published never takes the place of another cluster's unless a person says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.build.context import BuildContext
from hapkg.control import Suite, compare_versions
from hapkg.deb import read_members, read_text
from hapkg.errors import RepositoryError
from hapkg.recipe.settings import Settings
from hapkg.recipe.style import SITE
from hapkg.repository.indexes import IndexedPackage, read_pool
from hapkg.repository.upload import name_suite

_FACTS = "ha-stack/site.json"


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
