"""hapkg cache: the builds that machines share; and what build and plan need of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hapkg.cli import output
from hapkg.cli.options import BuildCacheOption, Context, JsonOption
from hapkg.errors import IntegrityError, UsageError
from hapkg.locations import State

if TYPE_CHECKING:
    from hapkg.build.context import BuildContext, SharedBuilds
    from hapkg.build.store import Artifact
    from hapkg.cache.place import Place, WritablePlace

app = typer.Typer(no_args_is_help=True, help="List, verify and prune the builds that machines share.")


@app.command("list")
def list_(context: typer.Context, build_cache: BuildCacheOption = None, as_json: JsonOption = False) -> None:
    """List the entries, who signed them, and which are not used, and why."""
    from hapkg.cache.upkeep import list_entries  # noqa: PLC0415

    rows = list(list_entries(_find_writable(context.obj, build_cache), _find_trusted(context.obj)))
    if as_json:
        output.print_json([asdict(row) for row in rows])
        return
    output.print_table(
        ("key", "source", "version", "suite", "made", "signed by"),
        [
            (row.key[:12], row.entry.source, row.entry.version, row.entry.suite, _date(row.entry.made), row.signer)
            if row.entry is not None and not row.fault
            else (row.key[:12], "-", "-", "-", "-", f"not used: {row.fault}")
            for row in rows
        ],
    )


@app.command()
def verify(context: typer.Context, build_cache: BuildCacheOption = None) -> None:
    """Check every signature, and every file against its digest."""
    from hapkg.cache.upkeep import verify as verify_entries  # noqa: PLC0415

    place = _find_writable(context.obj, build_cache)
    judged = list(verify_entries(place, _find_trusted(context.obj)))
    faults = [f"the entry {row.key[:12]} {fault}" for row, fault in judged if fault]
    if faults:
        raise IntegrityError(
            f"the build cache {place} has entries that are not used",
            details=faults,
            hint="find out who else can write there; build-all --push replaces them",
        )
    output.say(f"{len(judged)} entries of {place} are whole, and signed by keys that are trusted")


@app.command()
def prune(
    context: typer.Context,
    build_cache: BuildCacheOption = None,
    days: Annotated[int, typer.Option("--days", min=0, help="Keep entries that were pushed in so many days.")] = 90,
) -> None:
    """Remove entries that nobody pushed for long, and files that no entry has named for a day."""
    from hapkg.cache.upkeep import prune as prune_entries  # noqa: PLC0415

    entries, files = prune_entries(_find_writable(context.obj, build_cache), days)
    output.say(f"removed {entries} entries and {files} files")


def open_shared(
    context: Context, option: str | None, repository: str | None, state: State, *, sample: int = 0
) -> SharedBuilds | None:
    """The build cache and the repository of options or the project's settings, to be read; None where there is none.

    sample is the percentage of their builds that are built here once more.
    """
    settings = context.project.settings
    caches: list[SharedBuilds] = []
    place = _locate(context, option, settings.build_cache)
    published = _locate(context, repository, settings.reuse_from)
    if place is not None:
        from hapkg.cache.library import BuildCache  # noqa: PLC0415 - most projects have none

        caches.append(BuildCache(place, _find_trusted(context), state))
    if published is not None:
        from hapkg.cache.published import PublishedBuilds  # noqa: PLC0415
        from hapkg.repository.sources_file import Identity  # noqa: PLC0415

        identity = Identity(origin=settings.origin, label=settings.label, maintainer=settings.maintainer)
        caches.append(PublishedBuilds(published, f"{identity.keyring}.gpg", _find_trusted(context), state))
    if not caches:
        return None
    from hapkg.cache.library import SampledBuilds, SeveralCaches  # noqa: PLC0415

    shared = caches[0] if len(caches) == 1 else SeveralCaches(caches)
    return SampledBuilds(shared, sample) if sample else shared


def open_pusher(context: Context, option: str | None) -> Callable[[BuildContext, Sequence[Artifact]], Iterator[str]]:
    """A function that pushes builds of a run, the base chroot that they were made in and its layers, and tells of each.

    Raises UsageError where nobody would use what it pushes.
    """
    from hapkg.cache.base import push_base  # noqa: PLC0415
    from hapkg.cache.layers import push_layers  # noqa: PLC0415
    from hapkg.cache.library import push_builds  # noqa: PLC0415
    from hapkg.repository.keys.signing import KeyChoice, find_key  # noqa: PLC0415

    place, trusted = _find_writable(context, option), context.project.settings.build_cache_trust
    key = find_key(KeyChoice(home=context.keys), owner=context.project.settings.maintainer)
    if key.fingerprint not in trusted:
        raise UsageError(
            f"the key {key.fingerprint} may not write into the build cache",
            hint="name it in pyproject.toml, [tool.hapkg] build-cache-trust, on every machine that is to believe it",
        )

    def push(run: BuildContext, artifacts: Sequence[Artifact]) -> Iterator[str]:
        base, architecture = run.find_base(), run.architecture
        for artifact in push_builds(place, artifacts, key, trusted):
            yield f"pushed {artifact.source} {artifact.version} to {place}"
        if base is None or all(artifact.signer for artifact in artifacts):
            return
        if push_base(place, base, architecture, key, trusted):
            yield f"pushed the base chroot of {base.suite} for {architecture} to {place}"
        for layer in push_layers(place, run.store.state, base, architecture, key, trusted):
            yield f"pushed the layer {layer.key[:12]} of build dependencies to {place}"

    return push


def _locate(context: Context, option: str | None, setting: str | None) -> Place | None:
    """The place that an option names, or else a setting."""
    text = option or setting
    if not text:
        return None
    from hapkg.cache.place import find_place  # noqa: PLC0415

    return find_place(text, Path.cwd() if option else context.project.root)


def _find_writable(context: Context, option: str | None) -> WritablePlace:
    """The build cache where it can be written and listed. Raises UsageError."""
    from hapkg.cache.place import find_writable  # noqa: PLC0415

    text = option or context.project.settings.build_cache
    if not text:
        raise UsageError("no build cache is named", hint="say --build-cache, or set build-cache in [tool.hapkg]")
    return find_writable(text, Path.cwd() if option else context.project.root)


def _find_trusted(context: Context) -> Sequence[str]:
    """Keys whose entries are used. Raises UsageError for none at all: nothing would ever be used."""
    trusted = context.project.settings.build_cache_trust
    if not trusted:
        raise UsageError(
            "no key is trusted to vouch for builds of others",
            hint="name fingerprints in pyproject.toml, [tool.hapkg] build-cache-trust; hapkg key list shows yours",
        )
    return trusted


def _date(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
