"""The steps of a proof in their order: what a reader of the how-to does, and what happens to clusters."""

from __future__ import annotations

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
from hapkg.prove.runner import Step
from hapkg.prove.workload import share

STORY = (
    Step(name="boot", title="Two machines boot", act=boot),
    Step(name="install", title="apt install ha-stack ha-stack-site", act=install),
    Step(name="keygen", title="ha-stack check, keygen, the key copied", act=keys),
    Step(name="start", title="corosync and pacemaker form a cluster", act=start),
    Step(name="drbd", title="DRBD: create-md, up, primary --force, dual-primary", act=replicate),
    Step(name="mkfs", title="mkfs.gfs2", act=make_filesystems),
    Step(name="by-hand", title="dlm_controld and the mounts by hand", act=try_by_hand, short=False),
    Step(name="bootstrap", title="ha-stack bootstrap: pacemaker runs the stack", act=hand_over),
    Step(name="share", title="Both nodes use the file system", act=share),
    Step(name="volume", title="A volume is added under maintenance-mode", act=add_volume, short=False),
    Step(name="power", title="One node loses power", act=lose_power),
    Step(name="return", title="The node returns", act=come_back),
    Step(name="hang", title="A node hangs", act=hang, short=False),
    Step(name="link", title="The link is cut", act=lose_link, short=False),
    Step(name="corosync", title="corosync is killed", act=lose_corosync, short=False),
    Step(name="clock", title="A clock jumps", act=jump_clock, short=False),
    Step(name="full", title="A disk is full", act=fill_disk, short=False),
    Step(name="disk", title="A disk is pulled", act=lose_disk, short=False),
    Step(name="resync", title="A node is lost while it resyncs", act=lose_while_resyncing, short=False),
    Step(name="upgrade", title="Rolling upgrade", act=upgrade, short=False),
    Step(name="purge", title="The stack is purged", act=purge, short=False),
)


def choose_steps(*, short: bool, upgrade: bool) -> tuple[Step, ...]:
    """The steps of one proof: the short form, or all; an upgrade where there is something to upgrade from."""
    return tuple(step for step in STORY if (step.short or not short) and (step.name != "upgrade" or upgrade))
