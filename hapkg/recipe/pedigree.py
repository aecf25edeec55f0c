"""Facts of a recipe that the SBOM of its packages tells: its upstream, its patches, its licences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import assert_never

from hapkg.evidence.facts import DebianPlace, OriginFacts, PackageFacts, PatchFacts, SourceFacts, UpstreamFacts
from hapkg.recipe.model import Recipe
from hapkg.recipe.series import OwnPatch
from hapkg.recipe.settings import Settings
from hapkg.recipe.upstream import (
    DebianOrigin,
    DebianPatch,
    GitOrigin,
    HgOrigin,
    Origin,
    PinnedFile,
    RemotePatch,
    TarballOrigin,
    UrlPatch,
)

_SPDX = {
    "Apache-2.0": "Apache-2.0",
    "Artistic": "Artistic-1.0-Perl",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause",
    "CC0-1.0": "CC0-1.0",
    "Expat": "MIT",
    "ISC": "ISC",
    "MIT": "MIT",
    "MPL-1.1": "MPL-1.1",
    "MPL-2.0": "MPL-2.0",
    "Zlib": "Zlib",
}
"""Debian's short names of licences and SPDX's; the GNU licences have a rule."""
_GNU = re.compile(r"(?P<name>AGPL|GPL|LGPL|GFDL)-(?P<version>[0-9](?:\.[0-9])?)(?P<later>\+)?")


def tell_facts(recipe: Recipe, settings: Settings, distribution: str) -> SourceFacts:
    """The facts of a recipe; distribution is the suite's, with its release: debian-12."""
    return SourceFacts(
        name=recipe.source,
        vendor=settings.origin,
        distribution=distribution,
        debian_name=recipe.debian_source,
        homepage=recipe.homepage,
        date=recipe.date,
        license=make_expression(paragraph.license for paragraph in recipe.copyright),
        upstream=_tell_upstream(recipe),
        patches=tuple(_tell_patch(patch) for patch in (*recipe.remote_patches, *recipe.patches)),
        packages=tuple(PackageFacts(name=package.name, synopsis=package.synopsis) for package in recipe.packages),
    )


def make_expression(licenses: Iterable[str]) -> str:
    """An SPDX expression of licences as the paragraphs of debian/copyright name them, which all hold together."""
    found = dict.fromkeys(re.sub(r"[A-Za-z0-9.+-]+", _translate_word, license) for license in licenses)
    parts = [f"({part})" if " OR " in part and len(found) > 1 else part for part in found]
    whole = " AND ".join(parts)
    if " OR " not in whole:
        whole = " AND ".join(dict.fromkeys(whole.split(" AND ")))
    return whole


def _translate_word(match: re.Match[str]) -> str:
    word = match[0]
    if word in ("and", "or"):
        return word.upper()
    if gnu := _GNU.fullmatch(word):
        version = gnu["version"] if "." in gnu["version"] else f"{gnu['version']}.0"
        return f"{gnu['name']}-{version}-{'or-later' if gnu['later'] else 'only'}"
    return _SPDX.get(word) or "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", word)


def _tell_upstream(recipe: Recipe) -> UpstreamFacts | None:
    upstream = recipe.upstream
    if upstream is None:
        return None
    return UpstreamFacts(
        name=recipe.folder.name,
        version=recipe.version,
        repositories=tuple(f"{kind}+{address}" for kind, address in upstream.repositories.items()),
        tag=upstream.tag,
        commit=upstream.commit or "",
        origins=tuple(
            OriginFacts(address=find_address(origin), sha256=origin.sha256)
            for origin in recipe.origins
            if isinstance(origin, PinnedFile)
        ),
    )


def find_address(pinned: Origin | RemotePatch) -> str | DebianPlace:
    """The place where others find a file that a recipe pins; "" for a commit, and for a file of this host.

    Of a file: address two checkouts would not tell the same.
    """
    match pinned:
        case DebianOrigin():
            return DebianPlace(package=pinned.package, version=pinned.version)
        case DebianPatch():
            return DebianPlace(package=pinned.package, version=pinned.version, file=pinned.file)
        case TarballOrigin() | UrlPatch():
            return "" if pinned.url.startswith("file:") else pinned.url
        case GitOrigin() | HgOrigin():
            return ""
    assert_never(pinned)


def _tell_patch(patch: RemotePatch | OwnPatch) -> PatchFacts:
    address = "" if isinstance(patch, OwnPatch) else find_address(patch)
    return PatchFacts(name=patch.name, address=address, fixes=patch.fixes)
