"""upgrade-node: one node leaves, gets the new packages, and comes back, while the others serve.

Every step can be done again: what was interrupted, by a kill or by a reboot, goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hastack import cluster
from hastack.system import (
    REFUSED,
    STATE,
    Problem,
    control_service,
    find_outdated,
    find_pids,
    list_versions,
    need,
    run,
    say,
    sync_folder,
    write_file,
)

JOURNAL = STATE / "upgrade.json"
LOCK = STATE / "upgrade.lock"
_DPKG_LOCK = Path("/var/lib/dpkg/lock-frontend")
STEPS = ("standby", "drain", "stop", "install", "start", "return")
_SLOW = 1800.0
"""Seconds that resources may take to stop, and apt to install."""
_INTERVAL = 1.0


@dataclass(frozen=True)
class Journal:
    """How far an upgrade is."""

    step: str
    """The one that is to be done next."""
    was_standby: bool
    """Then it stays there."""
    was_running: bool
    before: str
    """Version of ha-stack when it began."""
    version: str = ""
    """The one that was asked for; empty for the newest."""


def upgrade_node(*, dry_run: bool, abort: bool, version: str) -> None:
    """Upgrade this node, or go on with it. Raises Problem when quorum or service would be lost, changing nothing."""
    with _hold_lock():
        journal = read_journal()
        if abort:
            _abort(journal)
            return
        if journal is None:
            journal = _begin(dry_run=dry_run, version=version)
            if journal is None or dry_run:
                return
        else:
            journal = _resume(journal, version)
            if dry_run:
                return
        try:
            _go(journal)
        except Problem as problem:
            if JOURNAL.exists():
                again = "mend it and run ha-stack upgrade-node again, or give up with ha-stack upgrade-node --abort"
                problem.hint = f"{problem.hint}\n{again}".strip()
            raise


@contextlib.contextmanager
def _hold_lock() -> Iterator[None]:
    """One at a time on this node. The kernel lets go of it however the program ends."""
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("another ha-stack upgrade-node is at work on this node", "wait for it", REFUSED) from None
        yield


def _go(journal: Journal) -> None:
    actions: dict[str, Callable[[Journal], None]] = {
        "standby": _stand_by,
        "drain": _drain,
        "stop": _stop,
        "install": _install,
        "start": _start,
        "return": _return,
    }
    for step in STEPS[STEPS.index(journal.step) :]:
        journal = replace(journal, step=step)
        write_file(JOURNAL, json.dumps(asdict(journal)) + "\n", 0o600)
        say(f"{step}:")
        actions[step](journal)
    _forget()
    after = list_versions().get("ha-stack", "nothing")
    what = f"{journal.before} became {after}" if after != journal.before else f"{after} runs"
    say(f"done: {what}; now the next node")


def read_journal() -> Journal | None:
    """The upgrade that is under way, if one is. Raises Problem when its file is damaged."""
    known = {field.name for field in fields(Journal)}
    try:
        facts = json.loads(JOURNAL.read_text("utf-8"))
        # The version that goes on may be older than the one that began, and know less.
        journal = Journal(**{key: value for key, value in facts.items() if key in known})
        STEPS.index(journal.step)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as cause:
        raise Problem(f"{JOURNAL} cannot be read: {cause}", "remove it when no upgrade is under way") from cause
    return journal


def _begin(*, dry_run: bool, version: str) -> Journal | None:
    before = list_versions().get("ha-stack", "")
    update = run("apt-get", "update", "-q", timeout=_SLOW)
    missed = [line for line in update.output.splitlines() if line.startswith(("W: Failed", "E:"))]
    for line in missed:  # another repository's failure is no reason to stay; the stack's own shows below
        say(f"note: {line}")
    planned = _plan(version)
    outdated = find_outdated()
    if not planned and not outdated:
        if missed:
            raise Problem("apt knows nothing newer, and could not read every repository", missed[0])
        say(f"nothing to do: ha-stack {before} is {'installed' if version else 'the newest'}, and what runs is of it")
        return None
    if not planned:
        say(f"{', '.join(outdated)} run from before an upgrade: the node leaves, and comes back with what is installed")
    running = cluster.is_running()
    member = None
    if running:
        member = _check_objections()
    for line in planned:
        say(line)
    if dry_run:
        say("nothing was changed: " + (", ".join(STEPS) if running else "install; the node is in no cluster now"))
        return None
    if planned:  # what cannot be fetched must be known while the node still serves
        fetch = ("apt-get", "--download-only", *_apt_arguments(version))
        need(run(*fetch, timeout=_SLOW), "the packages cannot be fetched")
    step = "standby" if running else "install"
    return Journal(step, bool(member and member.standby), running, before, version)


def _resume(journal: Journal, version: str) -> Journal:
    say(f"going on with the upgrade that was interrupted before: {journal.step}")
    if version and version != journal.version:
        wanted = journal.version or "the newest"
        raise Problem(f"that upgrade is to {wanted}, not to {version}", "give it up first: --abort", REFUSED)
    if journal.step in ("standby", "drain") and cluster.is_running():  # the node may be needed by now
        _check_objections()
    return journal


def _check_objections() -> cluster.Member | None:
    """This node, which may leave. Raises Problem when it is needed."""
    name = cluster.find_name()
    state = cluster.read_state()
    quorum = run("corosync-quorumtool", "-s").output
    losses = cluster.foresee_losses(name, sum(member.name != name for member in state.members))
    leaving = tuple(cluster.read_published(cluster.LEAVING))
    objections = cluster.find_objections(state, name, quorum, losses, leaving)
    if objections:
        hint = "mend that first: ha-stack status"
        if JOURNAL.exists():
            hint += "; or give up with ha-stack upgrade-node --abort"
        raise Problem("this node must stay: " + "; ".join(objections), hint, REFUSED)
    return state.find(name)


def _plan(version: str) -> list[str]:
    """Actions that apt would take, a line a package."""
    done = need(run("apt-get", "--simulate", *_apt_arguments(version), timeout=_SLOW), "apt has no way to do it")
    return [line for line in done.splitlines() if line.startswith(("Inst ", "Remv "))]


def _apt_arguments(version: str) -> list[str]:
    """A version of ha-stack pins all its packages; without one, the newest. The site's package comes along."""
    names = ["ha-stack"]
    if version:
        # apt takes the newest of what is not named itself, and then finds that the pins do not fit.
        names = [f"ha-stack={version}", *find_pins(run("apt-cache", "show", f"ha-stack={version}").output)]
    names += [name for name in list_versions() if name.startswith("ha-stack-site")]
    keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
    return ["install", "-q", "-y", "--allow-downgrades", "--no-remove", *keep, *names]


def find_pins(stanza: str) -> list[str]:
    """Dependencies of a package on one version alone, as apt's arguments."""
    relations = ", ".join(re.findall(r"(?m)^(?:Pre-)?Depends: (.*)$", stanza))
    return sorted({f"{name}={version}" for name, version in re.findall(r"([a-z0-9.+-]+) \(= ([^)]+)\)", relations)})


def _stand_by(journal: Journal) -> None:
    if not cluster.is_running():  # after a reboot the node has left already
        return
    name = cluster.find_name()
    # Said before anything moves: two nodes that begin at once see each other here, and both stay.
    cluster.publish(cluster.LEAVING, "yes")
    others = [other for other in cluster.read_published(cluster.LEAVING) if other != name]
    if others:
        _forget()
        raise Problem(f"node {others[0]} is being upgraded; this one stays", "try again when it is done", REFUSED)
    if not journal.was_standby:
        _set_standby(True)


def _drain(_: Journal) -> None:
    def is_empty() -> bool:
        if not cluster.is_running():
            return True
        name = cluster.find_name()
        there = [r for r in cluster.read_state().resources if r.managed and name in r.nodes]
        stuck = [resource.id for resource in there if resource.blocked]
        if stuck:
            raise Problem(f"{', '.join(stuck)} did not stop on this node", f"crm resource cleanup {stuck[0]}")
        return not there

    _wait(is_empty, _SLOW, "resources have left this node")


def _stop(_: Journal) -> None:
    for service, program in (("pacemaker", "pacemakerd"), ("corosync", "corosync")):
        if find_pids(program):
            if service == "pacemaker":
                _check_others()
            control_service(service, "stop", _SLOW)


def _check_others() -> None:
    """The last look before the node leaves: another may have failed since the first."""
    name = cluster.find_name()
    absent = [member for member in cluster.read_state().members if member.name != name and not member.serves]
    if absent:
        raise Problem(f"node {absent[0].name} does not serve now: {absent[0].describe()}")
    if not cluster.has_quorum_without_one(run("corosync-quorumtool", "-s").output):
        raise Problem("the nodes that stay would have no quorum now")


def _install(journal: Journal) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    # An apt whose parent was killed works on, and is let finish.
    _wait(_is_dpkg_free, _SLOW, "no other apt or dpkg is at work")
    need(run("dpkg", "--configure", "-a", timeout=_SLOW, extra=environment), "dpkg cannot finish what it began")
    need(run("apt-get", *_apt_arguments(journal.version), timeout=_SLOW, extra=environment), "apt-get install failed")


def _is_dpkg_free() -> bool:
    with _DPKG_LOCK.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _start(journal: Journal) -> None:
    if journal.was_running:
        for service, program in (("corosync", "corosync"), ("pacemaker", "pacemakerd")):
            if not find_pids(program):
                control_service(service, "start", _SLOW)


def _return(journal: Journal) -> None:
    if not journal.was_running:
        return

    def is_online() -> bool:
        try:
            state = cluster.read_state()
            member = state.find(cluster.find_name())
        except Problem:
            return False
        return state.quorate and member is not None and member.online and not member.pending

    _wait(is_online, _SLOW, "the node is back in its cluster")
    if not journal.was_standby:
        _set_standby(False)
    cluster.publish(cluster.LEAVING, "")


def _set_standby(on: bool) -> None:
    change = ("--update", "on") if on else ("--delete",)
    argv = ("crm_attribute", "--node", cluster.find_name(), "--name", "standby", *change)
    need(run(*argv), "the standby of this node cannot be changed")


def _abort(journal: Journal | None) -> None:
    if journal is None:
        raise Problem("no upgrade is under way", code=REFUSED)
    if run("dpkg", "--audit").output.strip():
        _wait(_is_dpkg_free, _SLOW, "no other apt or dpkg is at work")
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        need(run("dpkg", "--configure", "-a", timeout=_SLOW, extra=environment), "dpkg cannot finish what it began")
    _start(journal)
    _return(journal)
    _forget()
    say(f"given up before: {journal.step}; the node serves again as it is")


def _forget() -> None:
    if cluster.is_running():
        with contextlib.suppress(Problem):  # it ends with the daemons anyway
            cluster.publish(cluster.LEAVING, "")
    JOURNAL.unlink(missing_ok=True)
    sync_folder(JOURNAL.parent)


def _wait(condition: Callable[[], Any], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Problem(f"still waiting after {seconds:.0f} s until {what}", "ha-stack status tells what is there")
        time.sleep(_INTERVAL)
    say(f"    {what}")


def describe(journal: Journal) -> str:
    """An upgrade that is under way, in words."""
    return f"an upgrade of this node is interrupted before {journal.step}: ha-stack upgrade-node goes on"
