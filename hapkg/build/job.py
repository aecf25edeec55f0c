"""One source on its way from its recipe to the store, stage by stage. pipeline decides when each stage has its turn.

begin     ahead of its turn: fetch, unpack, and the layer of build dependencies that it will most probably want
prepare   decide, make the source package, have the layer of build dependencies ready
compile   a session, dpkg-buildpackage, the rules of the prefix: from then on others may use the packages
finish    lintian, and into the store
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hapkg import disk
from hapkg.build import failures
from hapkg.build.builder import BuildTask, build, check_with_lintian, make_layer
from hapkg.build.content_digest import read_content
from hapkg.build.context import BuildContext, check_pins, decide_step, find_relations, find_stack, render
from hapkg.build.jobserver import Jobserver
from hapkg.build.memory import Gauge
from hapkg.build.plan import Action, Step
from hapkg.build.prefix_policy import check_packages
from hapkg.build.store import Artifact
from hapkg.chroot.ccache import find_packages
from hapkg.chroot.layer import provide_layer
from hapkg.chroot.resolver import resolve
from hapkg.chroot.schroot import Chroot
from hapkg.control import TARBALLS, BinaryName, SourceName
from hapkg.disk import sha256_file
from hapkg.errors import HapkgError, Interrupted, MachineError
from hapkg.host import read_architecture
from hapkg.recipe.debian_folder import DebianFolder
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import Tarball, fetch, fetch_patch
from hapkg.source.lockfile import check_entry, make_entry
from hapkg.source.package import SourcePackage, lay_out, make_source_package

_STORED_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".txt", *TARBALLS)


@dataclass(kw_only=True, eq=False)
class Making:
    """A source that is being made, and what is known of it so far."""

    context: BuildContext
    recipe: Recipe
    base: Chroot
    report: Callable[[str], None]
    finished: Mapping[SourceName, Artifact] = field(default_factory=dict)
    """The sources it needs, from prepare() on."""
    retry: bool = False
    """Whether to build what failed before with the same inputs."""
    seconds: dict[str, float] = field(default_factory=dict)
    step: Step | None = None
    tarball: Tarball | None = None
    patches: dict[str, bytes] = field(default_factory=dict)
    """Remote patches, by name."""
    fetched: bool = False
    unpacked: bool = False
    remembered: bool = False
    """Whether its failure is that of an earlier run, told again."""
    gauge: Gauge = field(default_factory=Gauge)
    nice: int = 0
    """The nice value of what its stage runs."""
    task: BuildTask | None = None
    artifact: Artifact | None = None

    @property
    def log(self) -> Path:
        """Where its log is until it is finished."""
        return self.context.store.failure_log(self.context.suite, self.recipe.name)

    @property
    def work(self) -> Path:
        """Its scratch folder."""
        return self.context.store.state.work / self.recipe.name

    @property
    def version(self) -> str | None:
        """Its version, as soon as that is known."""
        return self.step.version if self.step else None


def begin(making: Making, builds: Sequence[Artifact]) -> None:
    """Do what needs no other source, while these are not ready yet: builds tell what they will most probably be.

    Nothing depends on it: what fails here is tried again by prepare(), and told there. A layer of packages that turn
    out to be others only takes room until it is pruned.
    """
    context, recipe = making.context, making.recipe
    try:
        _fetch(making)
        if not recipe.native:
            disk.remove_tree(making.work)
            making.work.mkdir(parents=True)
            _time(making, "source", lambda: _lay_out(making))
            making.unpacked = True
        relations = find_relations(context, recipe, guess_finished(context, recipe, builds))
        known = tuple(relation for relation in relations if "$" not in relation)  # dpkg fills these in later
        packages = resolve(making.base, known, context.store.state, source=recipe.source)
        whole = {**packages, **_find_ccache(making, packages)}
        with (context.store.state.work / f"{recipe.name}.log").open("ab", buffering=0) as log:
            _time(
                making, "layer", lambda: provide_layer(context.store.state, making.base, whole, log, nice=making.nice)
            )
    except Interrupted:
        raise
    except (HapkgError, OSError):
        return


def guess_finished(context: BuildContext, recipe: Recipe, builds: Sequence[Artifact]) -> dict[SourceName, Artifact]:
    """What the needs of a source will look like to it: as they came out last, or as their recipes declare them.

    What a package depends on seldom changes from build to build. Of one that was never built, the libraries that it
    links are unknown; most of them come with the build dependencies anyway.
    """
    newest = {build.source: build for build in builds if build.suite == context.suite}
    return {
        need: newest.get(need) or _make_stand_in(context, context.recipes[need])
        for need in context.graph.needs[recipe.name]
    }


def prepare(making: Making, builds: Sequence[Artifact]) -> bool:
    """Have everything ready for compile(). True when a finished build is reused instead: artifact is that build."""
    context, recipe = making.context, making.recipe
    check_pins(context, recipe)
    step = making.step = decide_step(context, recipe, making.base, builds, making.finished)
    if step.action is Action.REUSE and step.artifact is not None:
        context.store.verify(step.artifact)
        context.store.touch(step.artifact)
        making.artifact = step.artifact
        return True
    if step.version is None or step.key is None or step.inputs is None:
        raise AssertionError("a step that runs has its version, key and inputs")
    if not making.retry and (failure := failures.recall(making.log.parent, step.key, recipe.name)):
        making.remembered = True
        raise failure
    disk.remove_tree(making.log.parent)
    making.log.parent.mkdir(parents=True)
    if not making.unpacked:
        disk.remove_tree(making.work)
    (making.work / "made").mkdir(parents=True)
    package = _make_source(making, step.version, step.key)
    depends = step.inputs["depends"]
    visible = find_stack(context, recipe, making.finished)
    making.task = BuildTask(
        source=recipe.name,
        package=package,
        chroot=making.base,
        state=context.store.state,
        packages=depends,
        stack_debs=tuple(_find_debs(visible, making.finished)),
        forbidden=tuple(pattern for other in context.recipes.values() for pattern in other.shadows),
        parallel=context.parallel,
        tests=context.tests,
        gauge=making.gauge,
        ccache=_find_ccache(making, depends),
        nice=making.nice,
    )
    _time(making, "layer", lambda: make_layer(making.task, making.log) if making.task else None)
    return False


def _find_ccache(making: Making, depends: Mapping[str, str]) -> Mapping[str, str]:
    """What is installed beside the build dependencies where ccache is used; nothing where nothing is compiled."""
    if not making.context.ccache or making.recipe.native:
        return {}
    return find_packages(making.base, depends, making.context.store.state, making.recipe.source)


def compile_source(making: Making, jobserver: Jobserver) -> None:
    """Build the packages; artifact is what others may use from now on, though it is not in the store yet."""
    context, recipe, step, task = making.context, making.recipe, making.step, making.task
    if step is None or step.version is None or step.key is None or step.inputs is None or task is None:
        raise AssertionError("prepare() comes first")
    made = making.work / "made"
    with jobserver.join() as fifo:
        built = build(replace(task, jobs=fifo, nice=making.nice), made, making.log, making.report)
    making.seconds |= built.seconds
    prefix = context.project.settings.prefix
    _time(making, "check", lambda: check_packages(recipe, made, prefix, task.stack_debs, system=built.libraries))
    debs = {BinaryName(deb.name.split("_")[0]): deb for deb in sorted(made.glob("*.deb")) if "-dbgsym_" not in deb.name}
    contents = {name: read_content(deb) for name, deb in debs.items()}
    making.artifact = Artifact(
        key=step.key,
        source=recipe.name,
        version=step.version,
        suite=context.suite,
        architecture=read_architecture(),
        inputs=step.inputs,
        origin=making.tarball.origin if making.tarball else "written by hapkg",
        files={deb.name: sha256_file(deb) for deb in debs.values()},
        seconds=making.seconds,
        folder=made,
        memory=making.gauge.peak,
        packages={name: {"digest": content.digest, "depends": content.depends} for name, content in contents.items()},
    )


def finish(making: Making) -> None:
    """Check the packages with lintian and put them into the store. The scratch folder stays: others may read it."""
    artifact, task = making.artifact, making.task
    if artifact is None or task is None:
        raise AssertionError("compile_source() comes first")
    made = artifact.folder
    if making.context.lintian:
        _time(making, "lint", lambda: check_with_lintian(replace(task, nice=making.nice), made))
    for path in (*task.package.files, making.log):
        shutil.copyfile(path, made / path.name)
    files = {file.name: sha256_file(file) for file in sorted(made.iterdir()) if file.name.endswith(_STORED_SUFFIXES)}
    whole = replace(artifact, files=files, seconds=making.seconds)
    making.artifact = making.context.store.add_build(whole, made)
    disk.remove_tree(making.log.parent)


def describe(making: Making, cause: HapkgError | OSError) -> HapkgError:
    """A failure as it is told, and noted in the log. One that would come again by itself is remembered with its key."""
    source = making.recipe.name
    error = cause if isinstance(cause, HapkgError) else _describe_machine(source, cause)
    log = making.log
    if making.remembered:  # the note and the log of the run that it happened in stay
        return error
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        if f"log: {log}" not in error.details:  # an error that quotes the log adds nothing to it
            with log.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in (f"error: {error.brief}", *error.details))
        failures.remember(log.parent, making.step.key if making.step else None, error)
    return error


def _make_stand_in(context: BuildContext, recipe: Recipe) -> Artifact:
    """A source that was never built, as its users will see it."""
    return Artifact(
        key="",
        source=recipe.name,
        version=recipe.version,
        suite=context.suite,
        architecture=read_architecture(),
        inputs={},
        origin="",
        files={},
        seconds={},
        folder=context.store.state.work,
        packages={package.name: {"digest": "", "depends": ", ".join(package.depends)} for package in recipe.packages},
    )


def _fetch(making: Making) -> None:
    """Have the tarball and the remote patches, unless they are there already."""
    context, recipe = making.context, making.recipe
    if recipe.native or making.fetched:
        return

    def fetch_all() -> None:
        making.tarball = context.snapshots.get(recipe.name) or fetch(recipe, context.store.state, context.mirror)
        for patch in recipe.remote_patches:
            making.patches[patch.name] = fetch_patch(recipe, patch, context.store.state, context.mirror)

    _time(making, "fetch", fetch_all)
    making.fetched = True


def _lay_out(making: Making) -> None:
    lay_out(
        making.recipe, making.tarball, target=making.work / "source", inspect=lambda tree: _check_lock(making, tree)
    )


def _make_source(making: Making, version: str, key: str) -> SourcePackage:
    _fetch(making)
    if making.tarball is not None:
        with making.log.open("a", encoding="utf-8") as file:
            file.writelines(f"origin: {note}\n" for note in (*making.tarball.notes, making.tarball.origin))
    debian = render(making.context, making.recipe, version, key, making.finished)
    patches = {f"patches/{name}": content for name, content in making.patches.items()}
    made: list[SourcePackage] = []

    def pack() -> None:
        made.append(
            make_source_package(
                making.recipe,
                DebianFolder(files={**debian.files, **patches}),
                making.tarball,
                version=version,
                target=making.work / "source",
                inspect=lambda tree: _check_lock(making, tree),
            )
        )

    _time(making, "source", pack)
    return made[0]


def _time(making: Making, phase: str, act: Callable[[], object]) -> None:
    making.report(phase)
    started = time.monotonic()
    act()
    making.seconds[phase] = round(making.seconds.get(phase, 0.0) + time.monotonic() - started, 2)


def _check_lock(making: Making, tree: Path) -> None:
    """Refuse a source that is not what the suite's lock says. A snapshot was asked for by name: it is never locked."""
    context, recipe = making.context, making.recipe
    if context.lock is not None and making.tarball is not None and recipe.name not in context.snapshots:
        check_entry(context.lock, recipe.name, make_entry(recipe, making.tarball, tree))


def _find_debs(
    names: Sequence[BinaryName] | Mapping[BinaryName, object], finished: Mapping[SourceName, Artifact]
) -> list[Path]:
    found = {
        BinaryName(deb.name.split("_")[0]): deb for artifact in finished.values() for deb in artifact.paths(".deb")
    }
    return [found[name] for name in names]


def _describe_machine(source: SourceName, cause: OSError) -> MachineError:
    """What the machine refused; copying a folder lists its refusals in one error without a number."""
    lines = [why for *_, why in cause.args[0]] if isinstance(cause, shutil.Error) else [str(cause)]
    if cause.errno in (errno.ENOSPC, errno.EDQUOT) or any(os.strerror(errno.ENOSPC) in line for line in lines):
        return MachineError(f"{source}: the disk is full", details=lines[:3], hint="free some space: hapkg clean")
    return MachineError(f"{source}: the state folder cannot be used", details=lines[:3], hint="run: hapkg doctor")
