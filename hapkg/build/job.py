"""One source on its way from its recipe to the store. Each stage gives a frozen value, the argument of the next one.

prefetch    ahead of its turn: upstream's code, and the layer of build dependencies it will most probably want
decide      reuse a finished build, take one of the build cache, or build: the step, with version and key
prepare     fetch, pack a source package, install build dependencies into a layer
compile     build in a session, check the rules of the prefix; from then on others may use the packages
test        upstream's tests, in that session
lint        lintian
store       into the store

A Job itself is frozen but for what stages add up: durations, memory, the open session, whether it is cancelled.

scheduler.py decides when each stage has its turn, run.py puts both together.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from hapkg import disk
from hapkg.build import failures
from hapkg.build.builder import BuildTask, build, check_with_lintian, make_layer, run_tests
from hapkg.build.content_digest import read_content
from hapkg.build.context import BuildContext
from hapkg.build.documents.build_evidence import find_documents
from hapkg.build.failures import Failure, Repeated
from hapkg.build.limits import Gauge
from hapkg.build.maintainer_scripts import SNIPPETS, check_scripts
from hapkg.build.pins import check_pins, check_same_source, check_tree
from hapkg.build.plan import Action, Step
from hapkg.build.planner import Planner, render
from hapkg.build.prefix_policy import check_packages
from hapkg.build.results import Results
from hapkg.build.store import Artifact, check_same
from hapkg.chroot.ccache import find_packages
from hapkg.chroot.layer import find_folders, provide_layer
from hapkg.chroot.resolver import resolve
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import Session
from hapkg.control import TARBALLS, BinaryName, SourceName
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, HapkgError, IntegrityError, Interrupted
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import Tarball, fetch, fetch_patches
from hapkg.source.package import SourcePackage, lay_out, make_source_package

_STORED_SUFFIXES = (".deb", ".changes", ".buildinfo", ".dsc", ".txt", *TARBALLS)

Finished = Mapping[SourceName, Artifact]
"""Builds of all the sources that a source needs; their files may still lie in a scratch folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One source to build, and what all its stages work with."""

    planner: Planner
    recipe: Recipe
    base: Chroot
    notify: Callable[[str], None]
    """Called with each phase that the source enters."""
    retry: bool = False
    """Build again what failed before with the same inputs."""
    gauge: Gauge = field(default_factory=Gauge)
    """Memory that its build holds."""
    own_log: Path | None = None
    """The log, where it is not to be that of a build."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration of each phase so far; timed() adds to it."""
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """The session, until upstream's tests have ended in it. Whoever makes a job closes this at the end."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when a source that it was built on has failed its tests."""

    @property
    def context(self) -> BuildContext:
        """The context of the run."""
        return self.planner.context

    @property
    def log(self) -> Path:
        """The build log, until the build is stored."""
        return self.own_log or self.context.store.failure_log(self.context.suite, self.recipe.name)

    @property
    def work(self) -> Path:
        """The scratch folder."""
        return self.context.store.state.work / self.recipe.name


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Upstream's code and the recipe's remote patches, downloaded and verified."""

    tarball: Tarball | None
    """None for a native source."""
    patches: Mapping[str, bytes]
    """Remote patches by name."""
    unpacked: bool = False
    """The tree lies in the scratch folder already."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A source package, and the task that builds it."""

    step: Step
    task: BuildTask
    origin: str
    """The origin that delivered the source, in words."""


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Packages that others may use, in the scratch folder. They are not stored before upstream's tests have passed."""

    task: BuildTask
    artifact: Artifact
    session: Session | None
    """Where upstream's tests are run; None where that is on another machine."""


@contextlib.contextmanager
def timed(job: Job, phase: str) -> Iterator[None]:
    """Announce a phase, and add the seconds it takes to the job's."""
    job.notify(phase)
    started = time.monotonic()
    yield
    job.seconds[phase] = round(job.seconds.get(phase, 0.0) + time.monotonic() - started, 2)


def has_tests(context: BuildContext, recipe: Recipe) -> bool:
    """True for a source whose upstream tests a run wants. What hapkg writes itself has none."""
    return context.tests and recipe.tests and not recipe.native


def prefetch(job: Job, compiled: Finished, nice: int) -> Fetched | None:
    """Do what needs no other source, while some of those it needs are not compiled yet.

    Nothing depends on it: what fails here is tried again by prepare(), and told there. A layer of packages that turn
    out to be others only takes room until it is pruned.
    """
    fetched: Fetched | None = None
    try:
        fetched = fetch_source(job)
        fetched = unpack_source(job, fetched)
        _prefetch_layer(job, compiled, nice)
    except Interrupted:
        raise
    except (HapkgError, OSError):
        return fetched
    return fetched


def decide(job: Job, finished: Finished) -> Step:
    """The final step of the source. A build that is reused is verified, and becomes the newest of its source."""
    check_pins(job.context, job.recipe)
    step = job.planner.decide(job.recipe, finished)
    step = _bring(job, step, finished) if step.action is Action.FETCH else step
    if step.artifact is not None:
        job.context.store.verify(step.artifact)
        job.context.store.touch(step.artifact)
    return step


def _bring(job: Job, step: Step, finished: Finished) -> Step:
    """Store a build of the build cache. Where that cannot give it, the source is built, and the step says why."""
    if job.context.shared is None or step.artifact is None:
        raise ValueError(f"no build cache has {step.source}")
    folder = job.work / "brought"
    disk.remove_tree(job.work)
    folder.mkdir(parents=True)
    try:
        with timed(job, "fetch"):
            brought = job.context.shared.bring(step.artifact, folder)
            return replace(step, artifact=job.context.store.add_build(brought, folder))
    except (FetchError, IntegrityError) as error:
        own = job.planner.decide(job.recipe, finished, shared=False)
        return replace(own, reason=f"{own.reason}; {error.brief}")
    finally:
        disk.remove_tree(job.work)


def prepare(job: Job, step: Step, finished: Finished, fetched: Fetched | None, nice: int) -> Prepared:
    """Have everything ready for compile(). fetched is what prefetch() gave, if it had its turn."""
    prepared = pack(job, step, finished, fetched, nice)
    install_layer(job, prepared)
    return prepared


def pack(job: Job, step: Step, finished: Finished, fetched: Fetched | None, nice: int) -> Prepared:
    """Make the source package. Raises the failure of an earlier run with the same inputs, unless that is retried."""
    if not job.retry and (failure := failures.load(job.log.parent, step.key, job.recipe.name)):
        raise failure
    begin(job, keep_tree=fetched is not None and fetched.unpacked)
    fetched = fetched or fetch_source(job)
    package = pack_source(job, step, fetched, finished)
    task = make_task(job, step, package, finished, nice)
    return Prepared(step=step, task=task, origin=fetched.tarball.origin if fetched.tarball else "written by hapkg")


def install_layer(job: Job, prepared: Prepared) -> None:
    """Have the layer of build dependencies ready."""
    with timed(job, "layer"):
        shared = job.context.shared
        make_layer(prepared.task, job.log, shared.offer_layer if shared is not None else None)


def compile_source(job: Job, prepared: Prepared, nice: int) -> Compiled:
    """Build the packages and check them against the rules of the prefix. The session stays open for tests."""
    folder = job.work / "made"
    task = replace(prepared.task, nice=nice)
    built = build(task, folder, job.log, job.notify, job.held)
    job.seconds.update(built.seconds)
    if job.context.lead is not None:
        for deb in job.context.lead[job.recipe.name].paths("_all.deb"):
            shutil.copyfile(deb, folder / deb.name)
    with timed(job, "check"):
        prefix = job.context.project.settings.prefix
        debs, main = sorted(folder.glob("*.deb")), job.recipe.packages[0].package
        snippets = find_folders(task.state, task.chroot, task.installed, SNIPPETS)
        check_scripts(debs, task.package.debian, main, snippets)
        check_packages(job.recipe, folder, prefix, task.stack_debs, system=built.libraries)
        if prepared.step.compared is not None:
            check_same(prepared.step.compared, folder)
    if not has_tests(job.context, job.recipe):
        job.held.close()
    return Compiled(task=task, artifact=_describe_build(job, prepared, folder), session=built.session)


def test_source(job: Job, compiled: Compiled) -> None:
    """Run upstream's tests, and end the session."""
    if compiled.session is None:
        raise ValueError(f"{job.recipe.name} was not compiled here")
    with job.held:
        job.seconds.update(run_tests(compiled.task, compiled.session, job.log, job.notify))


def lint(job: Job, compiled: Compiled, nice: int) -> None:
    """Check the packages with lintian, if the run wants it."""
    if job.context.lintian:
        with timed(job, "lint"):
            check_with_lintian(replace(compiled.task, nice=nice), compiled.artifact.folder)


def store(job: Job, compiled: Compiled) -> Artifact:
    """Store the packages. The scratch folder stays: others may read it."""
    artifact, folder = compiled.artifact, compiled.artifact.folder
    for path in (*compiled.task.package.files, job.log):
        shutil.copyfile(path, folder / path.name)
    digests = {file.name: sha256_file(file) for file in folder.iterdir() if file.name.endswith(_STORED_SUFFIXES)}
    whole = replace(artifact, files=digests, seconds=job.seconds, memory=job.gauge.peak)
    stored = job.context.store.add_build(whole, folder)
    find_documents(job.context, stored)
    disk.remove_tree(job.log.parent)
    return stored


def describe_failure(job: Job, step: Step | None, cause: HapkgError | OSError) -> Failure:
    """A failure as it is told, and noted in the log. One of the recipe is saved with its key, if that is known."""
    error = cause if isinstance(cause, HapkgError) else failures.describe_machine(job.recipe.name, cause)
    log = job.log
    if not isinstance(error, Repeated):  # of that, the note and the log of the run that it happened in stay
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            if f"log: {log}" not in error.details:  # an error that quotes the log adds nothing to it
                with log.open("a", encoding="utf-8") as file:
                    file.writelines(f"{line}\n" for line in (f"error: {error.brief}", *error.details))
            failures.save(log.parent, step.key if step else None, error)
    return Failure(error=error, log=log)


def fetch_source(job: Job) -> Fetched:
    """Download and verify the tarball and the remote patches; a native source has neither."""
    context, recipe = job.context, job.recipe
    if recipe.native:
        return Fetched(tarball=None, patches={})
    state, mirror, most = context.store.state, context.debian_mirror, context.most_download
    with timed(job, "fetch"):
        ready = context.snapshots.get(recipe.name) or context.vendored.get(recipe.name)
        tarball = ready or fetch(recipe, state, mirror, most_bytes=most)
        patches = fetch_patches(recipe, state, mirror, most_bytes=most)
    return Fetched(tarball=tarball, patches=patches)


def unpack_source(job: Job, fetched: Fetched) -> Fetched:
    """Unpack upstream's code into the scratch folder, which is emptied first."""
    if job.recipe.native:
        return fetched
    disk.remove_tree(job.work)
    job.work.mkdir(parents=True)
    with timed(job, "source"):
        inspect = partial(check_tree, job.context, job.recipe, fetched.tarball)
        lay_out(job.recipe, fetched.tarball, target=job.work / "source", inspect=inspect)
    return replace(fetched, unpacked=True)


def pack_source(job: Job, step: Step, fetched: Fetched, finished: Finished) -> SourcePackage:
    """Make the source package, in the version of the step."""
    version, key, _ = step.identity
    lead = (job.context.lead or {}).get(job.recipe.name)
    if fetched.tarball is not None:
        with job.log.open("a", encoding="utf-8") as file:
            file.writelines(f"origin: {note}\n" for note in (*fetched.tarball.notes, fetched.tarball.origin))
    debian = render(job.context, job.recipe, version, lead.key if lead else key, finished)
    patches = {f"patches/{name}": content for name, content in fetched.patches.items()}
    with timed(job, "source"):
        package = make_source_package(
            job.recipe,
            replace(debian, files={**debian.files, **patches}),
            fetched.tarball,
            version=version,
            target=job.work / "source",
            inspect=partial(check_tree, job.context, job.recipe, fetched.tarball),
        )
    if lead is not None:
        check_same_source(lead, package.files)
    return package


def make_task(job: Job, step: Step, package: SourcePackage, finished: Finished, nice: int) -> BuildTask:
    """The build of a source package: the packages of archive and stack that its key names."""
    context, inputs = job.context, step.identity[2]
    return BuildTask(
        source=job.recipe.name,
        package=package,
        chroot=job.base,
        state=context.store.state,
        packages=inputs["depends"],
        stack_debs=tuple(_find_debs(inputs["stack"], finished)),
        results=Results(
            source=job.recipe.source,
            version=step.identity[0],
            architecture=context.architecture,
            packages={
                package.package: package.architecture
                for package in job.recipe.packages
                if context.lead is None or package.architecture == "any"
            },
        ),
        of_architecture_only=context.lead is not None,
        forbidden=tuple(pattern for other in context.recipes.values() for pattern in other.shadows),
        parallel=context.parallel,
        again=context.describe_command(job.recipe.name),
        cancelled=job.cancelled,
        limits=context.project.settings.limits,
        gauge=job.gauge,
        ccache=_find_ccache(job, inputs["depends"]),
        nice=nice,
    )


def _prefetch_layer(job: Job, compiled: Finished, nice: int) -> None:
    """Make the layer that the source will want if the sources it needs come out as they did last."""
    store = job.context.store
    relations = job.planner.guess(job.recipe, compiled).relations
    known = tuple(relation for relation in relations if "$" not in relation)  # dpkg fills these in later
    packages = resolve(job.base, known, store.state, source=job.recipe.source)
    whole = {**packages, **_find_ccache(job, packages)}
    with (store.state.work / f"{job.recipe.name}.log").open("ab", buffering=0) as log, timed(job, "layer"):
        provide_layer(store.state, job.base, whole, log, nice=nice)


def begin(job: Job, *, keep_tree: bool = False) -> None:
    """Begin with an empty log and an empty scratch folder, but for the tree that was unpacked ahead."""
    disk.remove_tree(job.log.parent)
    job.log.parent.mkdir(parents=True)
    if not keep_tree:
        disk.remove_tree(job.work)
    (job.work / "made").mkdir(parents=True)


def _find_ccache(job: Job, depends: Mapping[str, str]) -> Mapping[str, str]:
    """Packages installed beside the build dependencies where ccache is used; none where nothing is compiled."""
    if not job.context.ccache or job.recipe.native:
        return {}
    return find_packages(job.base, depends, job.context.store.state, job.recipe.source)


def _describe_build(job: Job, prepared: Prepared, folder: Path) -> Artifact:
    """The build that lies in a folder, without what the store adds."""
    version, key, inputs = prepared.step.identity
    debs = {_name_package(deb): deb for deb in sorted(folder.glob("*.deb")) if "-dbgsym_" not in deb.name}
    contents = {name: read_content(deb) for name, deb in debs.items()}
    return Artifact(
        key=key,
        source=job.recipe.name,
        version=version,
        suite=job.context.suite,
        architecture=job.context.architecture,
        inputs=inputs,
        origin=prepared.origin,
        files={deb.name: sha256_file(deb) for deb in debs.values()},
        seconds=job.seconds,
        folder=folder,
        memory=job.gauge.peak,
        packages={name: {"digest": content.digest, "depends": content.depends} for name, content in contents.items()},
    )


def _find_debs(names: Mapping[BinaryName, str], finished: Finished) -> list[Path]:
    found = {_name_package(deb): deb for artifact in finished.values() for deb in artifact.paths(".deb")}
    return [found[name] for name in names]


def _name_package(deb: Path) -> BinaryName:
    return BinaryName(deb.name.split("_")[0])
