"""The steps of a proof in their order: what a reader of the how-to does, and what happens to clusters."""

from __future__ import annotations

from collections.abc import Collection

from hapkg.errors import UsageError, did_you_mean
from hapkg.prove.administration import add_volume, purge, try_by_hand, upgrade
from hapkg.prove.faults import (
    come_back,
    fill_disk,
    hang,
    jump_clock,
    lose_corosync,
    lose_disk,
    lose_link,
    lose_power,
    lose_while_resyncing,
)
from hapkg.prove.formation import boot, hand_over, install, keys, make_filesystems, replicate, start
from hapkg.prove.runner import ProofStep
from hapkg.prove.stops import hang_at_shutdown, restart_engine, shut_down, stop_slowly
from hapkg.prove.volume_groups import share_volume_group
from hapkg.prove.workload import share

STEPS = (
    ProofStep(name="boot", title="Two machines boot", act=boot),
    ProofStep(name="install", title="apt install ha-stack ha-stack-site", act=install),
    ProofStep(name="keygen", title="ha-stack check, keygen, the key copied", act=keys),
    ProofStep(name="start", title="corosync and pacemaker form a cluster", act=start),
    ProofStep(name="drbd", title="DRBD: create-md, up, primary --force, dual-primary", act=replicate),
    ProofStep(name="mkfs", title="mkfs.gfs2", act=make_filesystems),
    ProofStep(name="by-hand", title="dlm_controld and the mounts by hand", act=try_by_hand, short=False),
    ProofStep(name="bootstrap", title="ha-stack bootstrap: pacemaker runs the stack", act=hand_over),
    ProofStep(name="share", title="Both nodes use the file system", act=share),
    ProofStep(name="lvm", title="A shared volume group under lvmlockd", act=share_volume_group, short=False),
    ProofStep(name="volume", title="A volume is added under maintenance-mode", act=add_volume, short=False),
    ProofStep(name="power", title="One node loses power", act=lose_power),
    ProofStep(name="return", title="The node returns", act=come_back, after="power"),
    ProofStep(name="shutdown", title="A node is shut down, and boots", act=shut_down, short=False),
    ProofStep(name="restart", title="systemctl restart corosync", act=restart_engine, short=False),
    ProofStep(name="slow-stop", title="A stop takes long", act=stop_slowly, short=False),
    ProofStep(name="hanging-stop", title="A shutdown hangs", act=hang_at_shutdown, short=False),
    ProofStep(name="hang", title="A node hangs", act=hang, short=False),
    ProofStep(name="link", title="The link is cut", act=lose_link, short=False),
    ProofStep(name="corosync", title="corosync is killed", act=lose_corosync, short=False),
    ProofStep(name="clock", title="A clock jumps", act=jump_clock, short=False),
    ProofStep(name="full", title="A disk is full", act=fill_disk, short=False),
    ProofStep(name="disk", title="A disk is pulled", act=lose_disk, short=False),
    ProofStep(name="resync", title="A node is lost while it resyncs", act=lose_while_resyncing, short=False),
    ProofStep(name="upgrade", title="Rolling upgrade", act=upgrade, short=False),
    ProofStep(name="purge", title="The stack is purged", act=purge, short=False),
)


_FORMED = "bootstrap"
"""The step after which there is a cluster that serves."""


def choose_steps(*, short: bool, upgrade: bool, names: Collection[str] = ()) -> tuple[ProofStep, ...]:
    """The steps of one proof: the short form, or all; an upgrade where there is something to upgrade from.

    With names those alone, in the order of the proof, and what they need: a cluster that is formed. Raises UsageError
    for a name that no step has, or an upgrade from nothing.
    """
    known = [step.name for step in STEPS]
    for name in names:
        if name not in known:
            raise UsageError(
                f"the proof has no step {name}", hint=did_you_mean(name, known) or f"steps: {', '.join(known)}"
            )
        if name == "upgrade" and not upgrade:
            raise UsageError("step upgrade needs two versions of ha-stack in the repository")
    if names:
        wanted = {*names, *(step.after for step in STEPS if step.name in names)}
        formed = known.index(_FORMED)
        return tuple(s for n, s in enumerate(STEPS) if s.name in wanted or (s.short and n <= formed))
    return tuple(step for step in STEPS if (step.short or not short) and (step.name != "upgrade" or upgrade))
