"""One source on its way from its recipe to the store, stage by stage. pipeline decides when each stage has its turn.

prepare   decide, fetch, make the source package, have the layer of build dependencies ready
compile   a session, dpkg-buildpackage, the rules of the prefix: from then on others may use the packages
finish    lintian, and into the store
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hapkg import disk
from hapkg.build import BuildTask, build, check_with_lintian, make_layer
from hapkg.chroot import Chroot
from hapkg.content import read_content
from hapkg.control import BinaryName, SourceName
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError, SourceError
from hapkg.health import check_packages
from hapkg.jobserver import Jobserver
from hapkg.lock import check_entry, make_entry
from hapkg.origin import Tarball, fetch, fetch_patch
from hapkg.plan import Action, Step
from hapkg.recipe import Recipe
from hapkg.source import SourcePackage, make_source_package
from hapkg.store import TARBALLS, Artifact, file_digest
from hapkg.template import DebianFolder
from hapkg.workshop import Workshop, decide_step, find_stack, read_architecture, render

_STORED_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".txt", *TARBALLS)
_FAILURE = "failure.json"
_KILLED = ("Killed", "Cannot allocate memory", "virtual memory exhausted", "signal SIGKILL")


@dataclass(kw_only=True)
class Making:
    """A source that is being made, and what is known of it so far."""

    workshop: Workshop
    recipe: Recipe
    base: Chroot
    finished: Mapping[SourceName, Artifact]
    """The sources it needs."""
    report: Callable[[str], None]
    retry: bool = False
    """Whether to build what failed before with the same inputs."""
    seconds: dict[str, float] = field(default_factory=dict)
    step: Step | None = None
    tarball: Tarball | None = None
    task: BuildTask | None = None
    artifact: Artifact | None = None

    @property
    def log(self) -> Path:
        """Where its log is until it is finished."""
        return self.workshop.store.failure_log(self.workshop.suite, self.recipe.name)

    @property
    def work(self) -> Path:
        """Its scratch folder."""
        return self.workshop.store.work / self.recipe.name

    @property
    def version(self) -> str | None:
        """Its version, as soon as that is known."""
        return self.step.version if self.step else None


def prepare(making: Making, builds: Sequence[Artifact]) -> bool:
    """Have everything ready for compile(). True when a finished build is reused instead: artifact is that build."""
    workshop, recipe = making.workshop, making.recipe
    step = making.step = decide_step(workshop, recipe, making.base, builds, making.finished)
    if step.action is Action.REUSE and step.artifact is not None:
        workshop.store.verify(step.artifact)
        workshop.store.touch(step.artifact)
        making.artifact = step.artifact
        return True
    if step.version is None or step.key is None or step.inputs is None:
        raise AssertionError("a step that runs has its version, key and inputs")
    if not making.retry:
        _recall_failure(making)
    shutil.rmtree(making.log.parent, ignore_errors=True)
    making.log.parent.mkdir(parents=True)
    shutil.rmtree(making.work, ignore_errors=True)
    (making.work / "made").mkdir(parents=True)
    package = _make_source(making, step.version, step.key)
    visible = find_stack(workshop, recipe, making.finished)
    making.task = BuildTask(
        source=recipe.name,
        package=package,
        chroot=making.base,
        cache=workshop.store.root,
        packages=step.inputs["depends"],
        stack_debs=tuple(_find_debs(visible, making.finished)),
        forbidden=tuple(pattern for other in workshop.recipes.values() for pattern in other.shadows),
        parallel=workshop.parallel,
        tests=workshop.tests,
    )
    _time(making, "layer", lambda: make_layer(making.task, making.log) if making.task else None)
    return False


def compile_source(making: Making, jobserver: Jobserver) -> None:
    """Build the packages; artifact is what others may use from now on, though it is not in the store yet."""
    workshop, recipe, step, task = making.workshop, making.recipe, making.step, making.task
    if step is None or step.version is None or step.key is None or step.inputs is None or task is None:
        raise AssertionError("prepare() comes first")
    made = making.work / "made"
    with jobserver.join() as fifo:
        built = build(replace(task, jobs=fifo), made, making.log, making.report)
    making.seconds |= built.seconds
    prefix = workshop.project.settings.prefix
    _time(making, "check", lambda: check_packages(recipe, made, prefix, task.stack_debs, system=built.libraries))
    debs = {BinaryName(deb.name.split("_")[0]): deb for deb in sorted(made.glob("*.deb")) if "-dbgsym_" not in deb.name}
    contents = {name: read_content(deb) for name, deb in debs.items()}
    making.artifact = Artifact(
        key=step.key,
        source=recipe.name,
        version=step.version,
        suite=workshop.suite,
        architecture=read_architecture(),
        inputs=step.inputs,
        origin=making.tarball.origin if making.tarball else "written by hapkg",
        files={deb.name: file_digest(deb) for deb in debs.values()},
        seconds=making.seconds,
        folder=made,
        packages={name: {"digest": content.digest, "depends": content.depends} for name, content in contents.items()},
    )


def finish(making: Making) -> None:
    """Check the packages with lintian and put them into the store. The scratch folder stays: others may read it."""
    artifact, task = making.artifact, making.task
    if artifact is None or task is None:
        raise AssertionError("compile_source() comes first")
    made = artifact.folder
    if making.workshop.lintian:
        _time(making, "lint", lambda: check_with_lintian(task, made))
    for path in (*task.package.files, making.log):
        shutil.copyfile(path, made / path.name)
    files = {file.name: file_digest(file) for file in sorted(made.iterdir()) if file.name.endswith(_STORED_SUFFIXES)}
    whole = replace(artifact, files=files, seconds=making.seconds)
    making.artifact = making.workshop.store.add_build(whole, made)
    shutil.rmtree(making.log.parent, ignore_errors=True)


def describe(making: Making, cause: HapkgError | OSError) -> HapkgError:
    """A failure as it is told, and noted in the log. One of the recipe is remembered with its key."""
    source = making.recipe.name
    error = cause if isinstance(cause, HapkgError) else _describe_machine(source, cause)
    log = making.log
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        if f"log: {log}" not in error.details:  # an error that quotes the log adds nothing to it
            with log.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in (f"error: {error.brief}", *error.details))
        if classify(error) == "recipe" and isinstance(error, BuildError | SourceError) and making.step:
            note = {"key": making.step.key, "brief": error.brief, "details": error.details, "hint": error.hint}
            disk.replace(log.with_name(_FAILURE), json.dumps({**note, "code": error.exit_code}).encode())
    return error


def classify(error: HapkgError) -> str:
    """Whose fault a failure is: of the recipe, the machine or the network. Only the first comes again by itself."""
    if isinstance(error, FetchError):
        return "network"
    text = "\n".join((error.brief, *error.details))
    if isinstance(error, MachineError | ProcessError) or any(sign in text for sign in _KILLED):
        return "machine"
    return "recipe"


def _recall_failure(making: Making) -> None:
    """Raise what a build of exactly these inputs ended with before."""
    try:
        note = json.loads(making.log.with_name(_FAILURE).read_text("utf-8"))
    except (OSError, ValueError):
        return
    if making.step is not None and note.get("key") == making.step.key:
        kind = SourceError if note.get("code") == SourceError.exit_code else BuildError
        raise kind(
            f"{note['brief']}, as before with the same inputs",
            details=note["details"],
            hint=f"to try it again: hapkg build {making.recipe.name}; {note['hint']}",
        )


def _make_source(making: Making, version: str, key: str) -> SourcePackage:
    workshop, recipe = making.workshop, making.recipe
    started = time.monotonic()
    if not recipe.native:
        making.report("fetch")
        making.tarball = workshop.snapshots.get(recipe.name) or fetch(recipe, workshop.store.root, workshop.mirror)
        with making.log.open("a", encoding="utf-8") as file:
            file.writelines(f"origin: {note}\n" for note in (*making.tarball.notes, making.tarball.origin))
    remote = {
        patch.name: fetch_patch(recipe, patch, workshop.store.root, workshop.mirror) for patch in recipe.remote_patches
    }
    making.seconds["fetch"] = round(time.monotonic() - started, 2)
    debian = render(workshop, recipe, version, key, making.finished)
    patches = {f"patches/{name}": content for name, content in remote.items()}
    made: list[SourcePackage] = []

    def pack() -> None:
        made.append(
            make_source_package(
                recipe,
                DebianFolder(files={**debian.files, **patches}),
                making.tarball,
                version=version,
                target=making.work / "source",
                inspect=lambda tree: _check_lock(workshop, recipe, making.tarball, tree),
            )
        )

    _time(making, "source", pack)
    return made[0]


def _time(making: Making, phase: str, act: Callable[[], None]) -> None:
    making.report(phase)
    started = time.monotonic()
    act()
    making.seconds[phase] = round(making.seconds.get(phase, 0.0) + time.monotonic() - started, 2)


def _check_lock(workshop: Workshop, recipe: Recipe, tarball: Tarball | None, tree: Path) -> None:
    """Refuse a source that is not what the suite's lock says. A snapshot was asked for by name: it is never locked."""
    if workshop.lock is not None and tarball is not None and recipe.name not in workshop.snapshots:
        check_entry(workshop.lock, recipe.name, make_entry(recipe, tarball, tree))


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
