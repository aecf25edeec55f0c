"""check: what a node needs to be a good member, what of it is missing, and what mends that."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from hastack import age, clock, cluster, drift, engine, manager, network, units, upgrade
from hastack.distribution import Distribution, read_distribution
from hastack.finding import FAIL, OK, WARN, Finding
from hastack.site import AUTHKEY, CONFIGURATION, CRM, DRBD_SECRET, Site, make_reinstall, prefer, read_site
from hastack.system import PREFIX, SYSTEMD, Problem, find_outdated, list_versions, run

_KEY_BYTES = 128
"""Corosync takes no shorter key."""
_SECRET_BYTES = 64
"""With fewer, DRBD's file is cut off."""
_ROOM = 256 * 2**20
"""Bytes that should be free for the cluster's state; with a sixteenth of it there is no time left."""
_APART = 1.0
"""Seconds that clocks may differ; with more, what happened first cannot be told from logs."""


def check_node() -> list[Finding]:
    """Everything about this node. Raises Problem when it is not configured at all."""
    site, distribution = read_site(), read_distribution()
    findings = [*network.check_membership(site, distribution), *_check_keys(site), *_check_files(site)]
    findings += [
        *_check_kernel(site, distribution),
        *network.check_ports(site),
        *_check_clock(),
        *_compare_clocks(site),
        *_check_packages(),
        *_check_space(),
    ]
    findings += [*age.check_age(datetime.now(UTC).date())]
    findings += [*manager.check_agents(_find_agents()), *manager.check_daemons(), *units.check_units()]
    if cluster.is_running() and not engine.answers():
        findings.append(engine.judge_silence())  # whoever asks it would wait for minutes
    elif cluster.is_running():
        findings += [*engine.check_links(site), engine.check_quorum(), *_check_cluster(site)]
    else:
        findings.append(Finding("cluster", OK, "does not run on this node"))
    findings += [Finding("site", WARN, text) for text in site.warnings]
    try:
        if (journal := upgrade.read_journal()) is not None:
            findings.append(Finding("upgrade", WARN, upgrade.describe(journal)))
    except Problem as problem:  # no reason to keep the rest back
        findings.append(Finding("upgrade", FAIL, problem.brief, f"rm {upgrade.JOURNAL}", problem.hint))
    return findings


def _check_keys(site: Site) -> Iterator[Finding]:
    if site.crypto:
        yield from _check_key("authkey", AUTHKEY, _KEY_BYTES)
    if site.drbd_secret:
        yield from _check_key("drbd-secret", DRBD_SECRET, _SECRET_BYTES)


def _check_key(name: str, key: Path, least: int) -> Iterator[Finding]:
    try:
        status = key.stat()
    except FileNotFoundError:
        yield Finding(
            name,
            FAIL,
            f"{key} is missing",
            advice="copy it from a node that has it; ha-stack keygen makes one, and says how to copy it",
        )
        return
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != 0 or mode & 0o377:
        remedy = f"chown root: {key}; chmod 0400 {key}"
        yield Finding(name, FAIL, f"{key} is {mode:04o} of user {status.st_uid}", remedy)
    elif status.st_size < least:
        advice = "copy it again from a node where it is whole"
        yield Finding(name, FAIL, f"{key} has {status.st_size} bytes", advice=advice)
    else:
        mark = hashlib.sha256(key.read_bytes()).hexdigest()[:8]
        yield Finding(name, OK, f"{status.st_size} bytes, for root alone, fingerprint {mark}: the same on every node")


def _check_files(site: Site) -> Iterator[Finding]:
    wrong = list(engine.judge_configuration())
    yield from wrong
    if not site.packaged:
        if not wrong:
            yield Finding("configuration", OK, f"{CONFIGURATION}, made by hand")
        return
    wrong, remedy = [], make_reinstall(site.package)
    for path, digest in site.files:
        try:
            content = Path(path).read_bytes()
        except OSError:
            wrong.append(Finding("configuration", FAIL, f"{path} is missing", remedy))
            continue
        if hashlib.sha256(content).hexdigest() != digest:
            wrong.append(Finding("configuration", FAIL, f"{path} was changed", remedy))
    yield from wrong
    if not wrong:
        yield Finding("configuration", OK, f"{len(site.files)} files as {site.package} brought them")


def judge_helper(parameter: Path) -> Iterator[Finding]:
    """The program that a loaded DRBD module calls when a peer is lost, from its parameter; nothing without a module.

    A module that was loaded before ha-drbd-utils came, or from an initrd without its modprobe.d file, calls another.
    """
    wanted = str(PREFIX / "sbin/drbdadm")
    if parameter.is_file() and (told := parameter.read_text("utf-8", "replace").strip()) != wanted:
        text = f"drbd calls {told}, not {wanted}: no handler runs, and a lost peer freezes the disk"
        yield Finding("module", FAIL, text, f"echo {wanted} > {parameter}", "update-initramfs -u makes it last")


def judge_lack(module: str, distribution: Distribution) -> Finding:
    """A module that modprobe does not find, and the package that may have it."""
    text = f"kernel {distribution.kernel} has no {module}"
    return Finding("module", FAIL, text, advice=distribution.advise_kernel())


def _check_kernel(site: Site, distribution: Distribution) -> Iterator[Finding]:
    for module in site.modules:
        if Path(f"/sys/module/{module}").is_dir():
            yield Finding("module", OK, f"{module} is loaded")
        elif run("modprobe", "--dry-run", "--quiet", module).status == 0:
            yield Finding("module", OK, f"{module} can be loaded")
        else:
            yield judge_lack(module, distribution)
    if (version := Path("/sys/module/drbd/version")).is_file():
        yield Finding("module", OK, f"drbd {version.read_text('utf-8', 'replace').strip()} is loaded")
    yield from judge_helper(Path("/sys/module/drbd/parameters/usermode_helper"))
    if "dlm" in site.modules:
        mounts = Path("/proc/mounts").read_text("utf-8", "replace")
        if re.search(r" /sys/kernel/config configfs ", mounts):
            yield Finding("configfs", OK, "mounted")
        else:
            advice = "modprobe configfs && mount -t configfs none /sys/kernel/config"
            yield Finding("configfs", WARN, "not mounted", advice=advice)
    for device in site.devices:
        if Path(device).is_block_device():
            yield Finding("device", OK, device)
        else:
            _, _, *names = device.split("/")
            volume = len(names) == 2 and names[0] != "disk"
            advice = (
                f"lvcreate --name {names[1]} --size SIZE {names[0]}"
                if volume
                else "lsblk lists the disks that are there"
            )
            yield Finding("device", FAIL, f"{device} is missing", advice=advice)


def _check_clock() -> Iterator[Finding]:
    advice = "let chrony or systemd-timesyncd run, with a server that it reaches"
    tracking = run("chronyc", "-c", "tracking")
    if tracking.status == 0:
        state = (tracking.output.strip().split(",") or ["?"])[-1]
        yield Finding("clock", WARN if state == "Not synchronised" else OK, f"chrony: {state}", advice=advice)
        return
    if SYSTEMD.is_dir():
        told = run("timedatectl", "show", "--property=NTPSynchronized", "--value").output.strip()
        if told == "yes":
            yield Finding("clock", OK, "synchronised")
            return
    yield Finding(
        "clock", WARN, "nothing says that it is synchronised; logs of nodes cannot be compared", advice=advice
    )


def _compare_clocks(site: Site) -> Iterator[Finding]:
    for node in site.others:
        found = [apart for address in node.addresses if (apart := clock.ask(address)) is not None]
        if not found:  # it is down, or a firewall keeps the question away: other lines tell the first
            yield Finding("clock", OK, f"{node.name} does not tell its time")
        elif abs(found[0]) > _APART:
            advice = "let chrony or systemd-timesyncd run on both"
            yield Finding("clock", WARN, f"{node.name} is {abs(found[0]):.1f} s {_name_side(found[0])}", advice=advice)
        else:
            yield Finding("clock", OK, f"{node.name} has the same time, {abs(found[0]) * 1000:.0f} ms apart")


def _name_side(seconds: float) -> str:
    return "ahead" if seconds > 0 else "behind"


def _check_space() -> Iterator[Finding]:
    folder = PREFIX / "var"
    state = os.statvfs(folder)
    yield judge_space(str(folder), state.f_bavail * state.f_frsize)


def judge_space(folder: str, free: int) -> Finding:
    """Free space, in bytes, of the folder that the cluster's state is written to."""
    text = f"{free / 2**20:.0f} MiB are free below {folder}"
    if free >= _ROOM:
        return Finding("space", OK, text)
    level = FAIL if free < _ROOM / 16 else WARN
    advice = f"du -xm {folder}/* tells what takes it"
    return Finding("space", level, f"{text}: pacemaker writes its configuration no more when none is", advice=advice)


def _find_agents() -> tuple[str, ...]:
    """Fencing agents that the site's package configures."""
    try:
        return tuple(re.findall(r"stonith:(\S+)", CRM.read_text("utf-8")))
    except OSError:
        return ()


def _check_packages() -> Iterator[Finding]:
    audit = run("dpkg", "--audit").output.strip()
    if audit:
        name = audit.splitlines()[-1].split()[0]
        yield Finding("packages", FAIL, f"dpkg has not finished: {name}", "dpkg --configure -a")
    else:
        yield Finding("packages", OK, f"ha-stack {list_versions().get('ha-stack', '')} and what it pins")
    outdated = find_outdated()
    if outdated:
        yield Finding(
            "daemons",
            WARN,
            f"{', '.join(outdated)} run from before an upgrade",
            "ha-stack upgrade-node",
            "node by node",
        )


def make_report(site: Site, versions: Mapping[str, str]) -> str:
    """Version and configuration, short, which the other nodes compare with their own."""
    files = [Path(path) for path, _ in site.files] or [CONFIGURATION]
    content = b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files if file.is_file())
    return f"{versions.get('ha-stack', 'none')} {hashlib.sha256(content).hexdigest()[:12]}"


def tell_report(site: Site) -> str:
    """Tell the other nodes what this one has, and return it. Raises Problem when they cannot be told."""
    report = make_report(site, list_versions())
    cluster.publish(cluster.REPORT, report)
    return report


def compare_reports(own: str, reports: Mapping[str, str], others: tuple[str, ...]) -> list[Finding]:
    """Tell whether the other nodes have the same versions and configuration, by what they told last."""
    findings = []
    for node in others:
        told = reports.get(node, "")
        version, _, digest = told.partition(" ")
        if not told:
            findings.append(
                Finding("same", WARN, f"{node} has not told its versions yet", advice=f"ha-stack check on {node}")
            )
        elif version != own.partition(" ")[0]:
            findings.append(
                Finding("same", WARN, f"{node} has ha-stack {version}", advice="ha-stack upgrade-node on the older one")
            )
        elif digest != own.partition(" ")[2]:
            findings.append(
                Finding(
                    "same", FAIL, f"{node} has another configuration", advice="install the same ha-stack-site on both"
                )
            )
        else:
            findings.append(Finding("same", OK, f"{node} has the same versions and configuration"))
    return findings


def _check_cluster(site: Site) -> Iterator[Finding]:
    try:
        state = cluster.read_state()
    except Problem as problem:
        yield Finding("cluster", FAIL, problem.brief, problem.hint)
        return
    yield from manager.check_memory_of_hands(state)
    for member in state.members:
        yield Finding("node", OK if member.serves else WARN, f"{member.name}: {member.describe()}")
    for failure in state.failures:
        yield Finding("failure", WARN, failure, "crm resource cleanup", "once its cause is mended")
    yield judge_fencing(state, wanted=site.fencing)
    yield from drift.check_drift(site)
    try:
        own = tell_report(site)
    except Problem as problem:
        yield Finding("same", WARN, problem.brief, problem.hint)
        return
    others = tuple(node.name for node in site.others)
    yield from compare_reports(own, cluster.read_published(cluster.REPORT), others)


def judge_fencing(state: cluster.State, *, wanted: bool | None) -> Finding:
    """Tell whether a lost node would be switched off. Wanted is what the site says; None where nobody does."""
    devices = [resource for resource in state.resources if resource.fences]
    if not state.fencing:
        text = "off: a lost node is never switched off"
        if wanted:
            option = prefer("property stonith-enabled").removeprefix("property ")
            remedy = f"crm_attribute --name {option} --update true" if devices else "ha-stack bootstrap --force"
            return Finding("fencing", FAIL, text, remedy)
        return Finding("fencing", WARN, text, advice="[[fencing.devices]] in the site file")
    if not devices:
        advice = "ha-stack bootstrap loads the site's; without one, crm configure primitive NAME stonith:AGENT"
        return Finding("fencing", FAIL, "on, but there is no device: no resource starts", advice=advice)
    idle = sorted(device.id for device in devices if not device.nodes)
    if idle:
        advice = f"crm_mon -1 -f tells why, then crm resource cleanup {idle[0]}"
        return Finding("fencing", WARN, f"{', '.join(idle)} runs nowhere", advice=advice)
    return Finding("fencing", OK, f"by {', '.join(sorted({device.id for device in devices}))}")
