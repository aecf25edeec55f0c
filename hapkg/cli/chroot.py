"""hapkg chroot: make, list, renew and remove the clean chroots that builds use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from hapkg.apt.mirror import digest_further
from hapkg.build.context import SharedBuilds, find_build_mirror
from hapkg.build.run import create_chroot, find_shared_base
from hapkg.build.store import Store
from hapkg.chroot import schroot, sessions
from hapkg.chroot.base_lock import BaseLock, read_base_lock
from hapkg.chroot.pinned import prune_mirrors
from hapkg.chroot.schroot import Chroot
from hapkg.cli import output
from hapkg.cli.options import ArchitecturesOption, JsonOption, MirrorOption, SuiteOption, find_architectures
from hapkg.control import Suite
from hapkg.host import read_architecture
from hapkg.recipe.settings import Project, find_further

app = typer.Typer(no_args_is_help=True, help="Make, list, renew and remove the clean chroots that builds use.")


@app.command("create")
def chroot_create(
    context: typer.Context,
    suite: SuiteOption = None,
    architecture: ArchitecturesOption = None,
    mirror: MirrorOption = None,
) -> None:
    """Make the base chroot of a suite, unless there is one."""
    chosen = context.obj.project.pick_suite(suite)
    for store in _find_stores(context, architecture):
        make_chroot(context.obj.project, store, chosen, mirror)


@app.command("update")
def chroot_update(
    context: typer.Context,
    suite: SuiteOption = None,
    architecture: ArchitecturesOption = None,
    mirror: MirrorOption = None,
) -> None:
    """Make the base chroot of a suite anew, from today's archive; of the locked packages where it is pinned."""
    chosen = context.obj.project.pick_suite(suite)
    for store in _find_stores(context, architecture):
        make_chroot(context.obj.project, store, chosen, mirror, renew=True)


@app.command("list")
def chroot_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the base chroots."""
    store, own = context.obj.store, read_architecture()
    names = (own, *store.state.list_architectures())
    found = [(name, chroot) for name in names for chroot in schroot.list_chroots(store.turn_to(name).state)]
    if as_json:
        rows = [
            {"suite": c.suite, "architecture": a, "name": c.name, "packages": c.packages, "digest": c.digest}
            for a, c in found
        ]
        output.print_json(rows)
    else:
        output.print_table(
            ("suite", "architecture", "schroot name", "packages", "digest"),
            [(c.suite, a, c.name, str(c.packages), c.digest[:12]) for a, c in found],
        )


@app.command("rm")
def chroot_remove(
    context: typer.Context,
    suite: Annotated[str, typer.Argument(metavar="SUITE")],
    architecture: ArchitecturesOption = None,
) -> None:
    """Remove the base chroot of a suite."""
    name = context.obj.project.pick_suite(suite)
    for store in _find_stores(context, architecture):
        with store.lock():
            sessions.reclaim(store.state)
            schroot.remove_chroot(store.state, name)
            prune_mirrors(store.state, name, keep=None)
        output.say(f"removed the chroot of {name}" + (f" for {store.architecture}" if store.architecture else ""))


def _find_stores(context: typer.Context, named: Sequence[str] | None) -> list[Store]:
    """The stores of the named architectures, this machine's own where none is. Raises as find_architectures()."""
    store: Store = context.obj.store
    return [store.turn_to(one) for one in find_architectures(named)] or [store]


def is_stale(project: Project, base: Chroot, pin: BaseLock | None) -> bool:
    """True for a base chroot that is of another lock or of other further archives than the project's."""
    locked = pin is not None and base.pinned != pin.digest
    return locked or (pin is None and base.further != digest_further(find_further(project, base.suite)))


def make_chroot(
    project: Project,
    store: Store,
    suite: Suite,
    archive: str | None,
    *,
    renew: bool = False,
    shared: SharedBuilds | None = None,
) -> None:
    """Make the base chroot of a suite unless there is one here or in a build cache, or anew.

    Raises HapkgError when that fails.
    """
    store = store.narrow(suite)
    with store.lock():
        store.reclaim()
        sessions.reclaim(store.state)
        made = None if renew else schroot.find_chroot(store.state, suite)
        pin = None if store.architecture else read_base_lock(project.root, suite, read_architecture())
        if made is not None and is_stale(project, made, pin):
            made = None
        made = made or (None if renew else find_shared_base(shared, project, suite, pin))
        if made is None:
            output.say(
                f"making the base chroot of {suite}" + (f" for {store.architecture}" if store.architecture else "")
            )
            made = create_chroot(store, suite, find_build_mirror(project, suite, archive, store.state), pin)
    output.say(f"chroot {made.name}: {made.packages} packages, digest {made.digest[:12]}")
