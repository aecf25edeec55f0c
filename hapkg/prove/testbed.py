"""Machines of a proof: from a published repository to a scene, and to the end of its machines in every case."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from hapkg import disk
from hapkg.control import BinaryName, Suite, compare_versions
from hapkg.errors import HapkgError, RepositoryError, UsageError
from hapkg.prove.host_service import GuestService
from hapkg.prove.runner import Scene
from hapkg.prove.vm import Guest, GuestPlan, make_links
from hapkg.prove.vm_image import GuestImage, find_needs
from hapkg.repository.indexes import Pool, find_suites, read_pool
from hapkg.site.model import Site

_NAMES = ("ha-stack", "ha-stack-site")
_MODULES = "drbd-modules-"
_FIRST_WITH_COMMAND = "1.2"
"""The ha-stack that brought upgrade-node."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Packages and sources that a repository offers to the machines of a proof."""

    root: Path
    suite: Suite
    sources: str
    """Text of the .sources file of the suite."""
    needs: tuple[str, ...]
    """Packages of Debian that the stack needs."""
    newest: str
    """Version of ha-stack."""
    older: Mapping[str, str]
    """Packages and versions of the ha-stack before it that has the node's command too; empty where there is none."""
    modules: tuple[str, ...] = ()
    """Packages with DRBD's module for one kernel each, as module-assistant builds them."""


def read_offer(root: Path, suite: Suite) -> Offer:
    """Look at a published repository. Raises UsageError or RepositoryError when it has not got what is to be proved."""
    if suite not in find_suites(root):
        raise UsageError(
            f"{root} does not publish {suite}", hint=f"run: hapkg publish --repo {root} --suite {suite} --site FILE"
        )
    candidates = (root / f"ha-stack-{suite}.sources", root / "ha-stack.sources")
    found = next((file for file in candidates if file.exists()), None)
    if found is None:
        raise RepositoryError(f"{root} has no .sources file of {suite}", hint="publish it again")
    pool = read_pool(root, suite)
    return Offer(
        root=root,
        suite=suite,
        sources=found.read_text("utf-8"),
        needs=find_needs(pool, _NAMES),
        newest=pool.binaries[BinaryName("ha-stack")][-1],
        older=find_older(pool),
        modules=tuple(sorted(name for name in pool.binaries if _MODULES in name)),
    )


def find_older(pool: Pool) -> dict[str, str]:
    """The ha-stack before the newest one, with every package that it pins; without those of before the command."""
    stacks = sorted(
        (p for p in pool.packages if p.name == "ha-stack" and p.architecture != "source"),
        key=lambda p: cmp_to_key(compare_versions)(p.version),
    )
    if len(stacks) < 2 or compare_versions(stacks[-2].version, _FIRST_WITH_COMMAND) < 0:
        return {}
    return {"ha-stack": stacks[-2].version, **dict(stacks[-2].pins)}


def find_module(modules: Iterable[str], kernel: str) -> str:
    """The package with DRBD's module for a kernel; "" where none of them is for it."""
    return next((name for name in modules if name.endswith(f"{_MODULES}{kernel}")), "")


@contextlib.contextmanager
def make_scene(
    offer: Offer,
    site: Site,
    image: GuestImage,
    accelerator: str,
    result: Path,
    *,
    newest: bool = False,
    keep: bool = False,
) -> Iterator[Scene]:
    """Two machines that are not switched on yet, and the service that they reach. Everything ends with the context.

    With newest the newest ha-stack is installed at once; else the one before it, which a step upgrades.
    Raises UsageError.
    """
    if len(site.nodes) != 2 or any(":" in address for node in site.nodes for address in node.addresses):
        raise UsageError("prove makes two machines with IPv4 addresses", hint="leave --site out for the built-in one")
    scratch = disk.make_scratch(Path(tempfile.gettempdir()), "hapkg-prove-")
    guests: list[Guest] = []
    try:
        with GuestService(scratch / "service", offer.root) as service:
            one, two = site.nodes
            pairs = [(f"{a}/24", f"{b}/24") for a, b in zip(one.addresses, two.addresses, strict=True)]
            for number, (node, links) in enumerate(zip(site.nodes, make_links(pairs), strict=True), 1):
                plan = GuestPlan(
                    name=node.name,
                    number=number,
                    image=image,
                    folder=scratch,
                    console=result / f"console-{node.name}.log",
                    links=links,
                    service=scratch / "service",
                )
                guests.append(Guest(plan, accelerator))
                service.machines[node.name] = guests[-1]
            yield Scene(
                site=site,
                suite=str(offer.suite),
                guests=(guests[0], guests[1]),
                service=service,
                folder=result,
                sources=offer.sources,
                older={} if newest else offer.older,
                module=find_module(offer.modules, image.kernel_version),
                facts={"upgrade to": offer.newest} if offer.older and not newest else {},
            )
    finally:
        for guest in guests:
            guest.power_off()
        if keep:
            (result / "machines").mkdir(exist_ok=True)
            for file in (*scratch.glob("*.qcow2"), *scratch.glob("*.raw"), *scratch.glob("*.acks")):
                shutil.move(file, result / "machines" / file.name)
        disk.remove_tree(scratch)


def take_stock(scene: Scene) -> None:
    """After a failure: what each machine that still answers knows of the cluster, in the result folder."""
    script = (
        "crm_mon -1 -rf; cat /proc/drbd; dlm_tool ls; dlm_tool status; stonith_admin --history '*'; mount | grep gfs2;"
        "crm configure show; dmesg | grep -E 'drbd|dlm: ' | tail -60; dmesg | tail -60;"
        "tail -100 /var/log/corosync.log;"
        "journalctl -b --no-pager -t crm-fence-peer.sh -t crm-unfence-peer.sh | tail -40;"
        "tail -200 /opt/ha/var/log/pacemaker/pacemaker.log"
    )
    for guest in scene.guests:
        text = "is off\n"
        if guest.alive:
            try:
                text = guest.run(script, seconds=180, check=False).output
            except HapkgError as error:
                text = "\n".join((error.brief, *error.details))
        (scene.folder / f"state-{guest.name}.log").write_text(text, "utf-8", "replace")
