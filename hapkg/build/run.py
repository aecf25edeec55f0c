"""Running a plan: what it reuses is reused; engine.py builds the rest.

Nothing here prints: it yields events, and the caller shows them. What only builds need is imported when there is one: a
run that finds nothing to do takes less time than importing that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hapkg import disk
from hapkg.apt import Mirror
from hapkg.build.context import BuildContext, check_pins
from hapkg.build.events import Ending, Outcome, Progress
from hapkg.build.plan import Action, Step
from hapkg.build.store import Store
from hapkg.chroot import schroot
from hapkg.chroot.schroot import Chroot
from hapkg.control import SourceName, Suite
from hapkg.errors import HapkgError, IntegrityError, Interrupted
from hapkg.source.lockfile import make_entry, write_lock


def run_plan(
    context: BuildContext,
    targets: Sequence[SourceName],
    *,
    jobs: int,
    keep_going: bool,
    plan: Sequence[Step] = (),
    retry: bool = False,
) -> Iterator[Progress | Outcome]:
    """Build the targets and all they need, at most jobs at a time. The caller holds the store's lock.

    plan is what was decided under the same lock: what it reuses is reused, what it will build begins early. retry
    builds what failed before with the same inputs. Every source of the plan ends in exactly one Outcome. Closing the
    iterator ends running builds and their sessions.
    """
    context.store.reclaim()
    schroot.reclaim(context.store.state)
    if _is_up_to_date(context, plan):
        yield from (_reuse(context.store, step) for step in plan)
        return
    from hapkg.build.records import CREATE  # noqa: PLC0415
    from hapkg.build.scheduler import work  # noqa: PLC0415
    from hapkg.chroot import layer  # noqa: PLC0415

    layer.sweep(context.store.state)
    base = schroot.find_chroot(context.store.state, context.suite)
    if base is None:
        yield Progress(source=f"chroot {context.suite}", phase=CREATE, at=time.monotonic())
        base = create_chroot(context.store, context.suite, context.mirror)
        yield Progress(source=f"chroot {context.suite}", phase="ready", at=time.monotonic())
    schroot.make_folders(context.store.state, context.suite)
    early = [step.source for step in plan if step.action is Action.BUILD]
    yield from work(context, targets, early, base, jobs=jobs, keep_going=keep_going, retry=retry)
    layer.prune_layers(context.store.state)
    layer.sweep(context.store.state)


def _is_up_to_date(context: BuildContext, plan: Sequence[Step]) -> bool:
    """Whether every source of a plan is reused, and is what the suite's lock says."""
    if not plan or any(step.action is not Action.REUSE for step in plan):
        return False
    try:
        for step in plan:
            check_pins(context, context.recipes[step.source])
    except IntegrityError:
        return False
    return True


def _reuse(store: Store, step: Step) -> Outcome:
    """Take a finished build as it is, if its files are those that were stored. Raises IntegrityError."""
    artifact = step.artifact
    if artifact is None:
        raise AssertionError("a step that reuses has its build")
    started = time.monotonic()
    store.verify(artifact, quick=True)
    store.touch(artifact)
    return Outcome(
        source=step.source,
        ending=Ending.REUSED,
        version=step.version,
        reason=step.reason,
        seconds=time.monotonic() - started,
        log=artifact.log,
        artifact=artifact,
        at=time.monotonic(),
    )


def create_chroot(store: Store, suite: Suite, mirror: Mirror | None) -> Chroot:
    """Make the base chroot of a suite, with its log in the state folder. The caller holds the store's lock."""
    log = store.state.logs / f"chroot-{suite}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        try:
            return schroot.create_chroot(store.state, suite, mirror, log=file)
        except HapkgError as error:
            if isinstance(error, Interrupted):
                raise
            tail = log.read_text("utf-8", "replace").splitlines()[-12:]
            error.brief = f"the base chroot of {suite} cannot be made: {error.brief}"
            error.details = (*tail, f"log: {log}")
            error.hint = error.hint or "check the network and --mirror; hapkg doctor checks the rest"
            raise


def make_lock(context: BuildContext, names: Sequence[SourceName]) -> Path:
    """Fetch and unpack the named sources and write what they are into the suite's lock; other entries stay.

    Entries of sources that have no recipe any more are dropped. The caller holds the store's lock.
    """
    from hapkg.source.fetch import fetch, fetch_patch  # noqa: PLC0415
    from hapkg.source.package import unpack  # noqa: PLC0415

    context.store.reclaim()
    old = context.lock.sources if context.lock else {}
    entries = {name: entry for name, entry in old.items() if name in context.recipes}
    for name in names:
        recipe = context.recipes[name]
        if recipe.native:
            continue
        tarball = fetch(recipe, context.store.state, context.mirror)
        for patch in recipe.remote_patches:
            fetch_patch(recipe, patch, context.store.state, context.mirror)
        tree = context.store.state.work / name
        tree.mkdir()
        unpack(recipe, tarball.path, tree)
        entries[name] = make_entry(recipe, tarball, tree)
        disk.remove_tree(tree)
    return write_lock(context.project.root, context.suite, entries)
