"""Documents of a finished build, kept beside it: made when it ends, or when those of an older build are asked for.

They say nothing that the store and the recipe do not know, so that the time at which they are made is in none of them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hapkg import __version__, disk
from hapkg.build.context import BuildContext
from hapkg.build.store import Artifact
from hapkg.control import TARBALLS
from hapkg.deb import read_deb_control
from hapkg.errors import BuildError, HapkgError
from hapkg.evidence.build_facts import BuildFacts, BuiltFile, BuiltPackage, Material
from hapkg.evidence.buildinfo import parse_buildinfo
from hapkg.programs.process import run
from hapkg.recipe.model import Recipe
from hapkg.recipe.pedigree import find_address, tell_facts
from hapkg.repository.documents.names import BUILDINFO, PROVENANCE, SBOM
from hapkg.repository.paths import read_file

_FOLDER = "documents"


def find_documents(context: BuildContext, artifact: Artifact) -> tuple[Path, ...]:
    """The .buildinfo file of a build, its SBOM and its statement; none where it left no .buildinfo file."""
    infos = artifact.paths(BUILDINFO)
    if len(infos) != 1:
        return ()
    (info,) = infos
    stem, folder = info.name.removesuffix(BUILDINFO), artifact.folder / _FOLDER
    made = (folder / f"{stem}{SBOM}", folder / f"{stem}{PROVENANCE}")
    if not all(file.is_file() for file in made):
        _make(context, artifact, info, *made)
    return (info, *made)


def _make(context: BuildContext, artifact: Artifact, info: Path, sbom: Path, statement: Path) -> None:
    from hapkg.evidence.provenance import write_statement  # noqa: PLC0415 - these take time, once a build
    from hapkg.evidence.source_sbom import write_source_sbom  # noqa: PLC0415

    recipe, settings = context.recipes[artifact.source], context.project.settings
    distribution = context.distribution.name_release(context.suite)
    build = _tell_build(context, recipe, artifact, info)
    with disk.Batch() as batch:
        batch.make_folder(sbom.parent)
        batch.replace(
            {
                sbom: write_source_sbom(tell_facts(recipe, settings, distribution), build),
                statement: write_statement(build),
            }
        )


def _tell_build(context: BuildContext, recipe: Recipe, artifact: Artifact, info: Path) -> BuildFacts:
    try:
        told = parse_buildinfo(read_file(info).decode("utf-8", "replace"))
    except ValueError as cause:
        raise BuildError(f"{info.name} of the build of {artifact.source} is damaged: {cause}") from cause
    listed = [name for name in _list_own(artifact) if name.endswith((".deb", ".dsc", *TARBALLS))]
    return BuildFacts(
        source=artifact.source,
        version=artifact.version,
        suite=artifact.suite,
        vendor=context.distribution.vendor.lower(),
        architecture=artifact.architecture,
        key=artifact.key,
        inputs=artifact.inputs,
        packages=tuple(_tell_packages(artifact)),
        files=tuple(BuiltFile(name=name, sha256=artifact.files[name]) for name in listed),
        byproducts=(BuiltFile(name=info.name, sha256=artifact.files[info.name]),),
        materials=(*_tell_recipe(context, recipe), *_tell_source(context, recipe, artifact), *_tell_base(artifact)),
        environment=told.installed,
        finished=told.date,
        builder=os.uname().nodename,
        hapkg=__version__,
    )


def _list_own(artifact: Artifact) -> list[str]:
    """Files that the build made: packages for all architectures are not of one that follows another."""
    return [name for name in sorted(artifact.files) if not (name.endswith("_all.deb") and "lead" in artifact.inputs)]


def _tell_packages(artifact: Artifact) -> Iterator[BuiltPackage]:
    own = set(_list_own(artifact))
    for name, told in sorted(artifact.packages.items()):
        (deb,) = [file for file in artifact.paths(".deb") if file.name.startswith(f"{name}_")]
        if deb.name not in own:
            continue
        yield BuiltPackage(
            name=name,
            architecture=deb.stem.rpartition("_")[2],
            sha256=artifact.files[deb.name],
            depends=told["depends"],
            built_using=read_deb_control(deb).get("Built-Using", ""),
        )


def _tell_recipe(context: BuildContext, recipe: Recipe) -> Iterator[Material]:
    """The recipe and the lock: by the commit of the checkout, where it is one of git, and by content."""
    root = context.project.root
    place = recipe.folder.relative_to(root) if recipe.folder.is_relative_to(root) else Path(recipe.folder.name)
    with contextlib.suppress(HapkgError):
        commit = run(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]).output.strip()
        changed = run(["git", "-C", str(root), "status", "--porcelain", "--", "recipes", "debian-templates"]).output
        yield Material(
            name=str(place),
            address="",
            digests={"gitCommit": commit},
            annotations={"changed since": True} if changed.strip() else {},
        )
    if context.lock is not None and recipe.name in context.lock.sources:
        locked = context.lock.sources[recipe.name]
        known = {key: str(getattr(locked, key)) for key in ("version", "origin", "sha256", "tree", "signer", "vcs")}
        yield Material(
            name=f"locks/{context.suite}.toml",
            address="",
            digests={},
            annotations={key: value for key, value in known.items() if value},
        )


def _tell_source(context: BuildContext, recipe: Recipe, artifact: Artifact) -> Iterator[Material]:
    """Upstream's tarball, with who signed it, and the remote patches."""
    from hapkg.evidence.purl import name_address  # noqa: PLC0415

    for name in sorted(artifact.files):
        if ".orig.tar." in name:
            places = (find_address(one) for one in recipe.origins if one.describe() == artifact.origin)
            policy = {"signature": str(recipe.signature.policy)} if recipe.signature else {}
            yield Material(
                name=name,
                address=name_address(next(places, "")),
                digests={"sha256": artifact.files[name]},
                annotations={"origin": artifact.origin, **policy},
            )
    if recipe.upstream and recipe.upstream.commit:
        kind, home = list(recipe.upstream.repositories.items())[-1]
        digest = {f"{kind}Commit": recipe.upstream.commit}
        yield Material(name=recipe.upstream.tag, address=f"{kind}+{home}", digests=digest, annotations={})
    for patch in recipe.remote_patches:
        address = name_address(find_address(patch))
        yield Material(name=patch.name, address=address, digests={"sha256": patch.sha256}, annotations={})


def _tell_base(artifact: Artifact) -> Iterator[Material]:
    """The base chroot and the packages of the stack that the build saw, by hapkg's digests of their content."""
    inputs = artifact.inputs
    yield Material(
        name=f"base chroot {artifact.suite}",
        address="",
        digests={"hapkgChroot": str(inputs["chroot"])},
        annotations={},
    )
    for name, digest in sorted(inputs.get("stack", {}).items()):
        yield Material(name=name, address="", digests={"hapkgContent": str(digest)}, annotations={})
