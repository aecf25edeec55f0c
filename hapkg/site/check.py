"""A site's files before the programs that will read them, as they were built, in a chroot that is thrown away.

What a site file says of itself is checked when it is read. What the programs make of the files that follow from it,
only they know: corosync and drbdadm are asked as every node, with its name and addresses, and crm once for all.
"""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg.build.context import BuildContext
from hapkg.build.planner import make_plan
from hapkg.chroot import schroot
from hapkg.chroot.base import ARCHIVES
from hapkg.chroot.schroot import LOCAL_REPOSITORY, Session
from hapkg.errors import ProcessError, SiteError
from hapkg.site.files import render_site
from hapkg.site.model import Site
from hapkg.site.tables import Node

_SHOWN = 15
"""Lines of a program's refusal."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Verdict of one program on the site."""

    check: str
    ok: bool
    output: tuple[str, ...] = ()
    """Its last lines, when it refuses."""
    warnings: tuple[str, ...] = ()
    """Things that it could not look at."""


def check_site(context: BuildContext, site: Site, report: Callable[[str], None]) -> Iterator[Finding]:
    """Ask the stack's programs about the files of a site. The caller holds the store's lock; report is told each phase.

    Raises SiteError when the stack is not built for the suite.
    """
    prefix = context.project.settings.prefix
    base = schroot.find_chroot(context.store.state, context.suite)
    debs = _find_packages(context)
    if base is None or not debs:
        raise SiteError(
            f"the stack, whose programs check a site, is not built for {context.suite}",
            hint=f"run: hapkg build-all --suite {context.suite}; or leave the programs out with --quick",
        )
    schroot.reclaim(context.store.state)
    log_path = context.store.state.logs / "site-check.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log, schroot.enter(base, "site-check") as session:
        report("install the stack")
        stack = f"{context.project.settings.package_prefix}stack"
        options = ["-o", f"Dir::Cache::Archives={ARCHIVES}"]
        try:
            _offer_packages(session, debs, log)
            session.run(["apt-get", *options, "install", stack, "iproute2"], user="root", network=True, log=log)
        except ProcessError as error:
            raise SiteError("the stack cannot be installed to check the site", details=(f"log: {log_path}",)) from error
        session.run([f"{prefix}/sbin/corosync-keygen", "-l"], user="root", log=log)
        _put_files(session, render_site(site, context.project.settings, context.project.templates))
        for node in site.nodes:
            report(f"ask as {node.name}")
            yield _ask(session, f"corosync, as {node.name}", [*_become(node), f"{prefix}/sbin/corosync -t"])
            for module in sorted({resource.module for resource in site.drbd}):
                override = f"export DRBD_DRIVER_VERSION_OVERRIDE={'8.4.0' if module == '8.4' else '9.1.0'}"
                dump = f"{prefix}/sbin/drbdadm --config-file {prefix}/etc/drbd.conf dump all"
                yield _ask(session, f"drbdadm, as {node.name}", [*_become(node), override, dump])
        if site.drbd:
            yield _ask(session, "handlers of drbd", [_look_for_handlers(prefix)])
        report("ask crm")
        yield _ask(session, "crm and crm_verify", [_verify_crm(site, prefix)])


def _offer_packages(session: Session, debs: Sequence[Path], log: IO[bytes]) -> None:
    """Offer these packages to apt inside the session."""
    session.copy_in(debs, LOCAL_REPOSITORY, user="root")
    script = f"""set -e
        cd {LOCAL_REPOSITORY}
        dpkg-scanpackages --multiversion . > Packages
        echo 'deb [trusted=yes] file:{LOCAL_REPOSITORY} ./' > /etc/apt/sources.list.d/hapkg-stack.list
        apt-get update -o Dir::Etc::SourceList=sources.list.d/hapkg-stack.list -o Dir::Etc::SourceParts=- \\
            -o APT::Get::List-Cleanup=false"""
    session.run(["sh", "-c", script], user="root", log=log)


def _find_packages(context: BuildContext) -> tuple[Path, ...]:
    """Packages of the stack as its recipes stand now; none when a part of it is not built."""
    steps = make_plan(context, list(context.recipes))
    artifacts = [step.artifact for step in steps]
    if any(artifact is None for artifact in artifacts):
        return ()
    debs = [deb for artifact in artifacts if artifact is not None for deb in artifact.paths(".deb")]
    return tuple(deb for deb in debs if "-dbgsym_" not in deb.name)


def _put_files(session: Session, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                member = tarfile.TarInfo(path[1:])
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        archive.seek(0)
        session.run(["tar", "-x", "--no-same-owner", "-C", "/"], user="root", stdin=archive)


def _ask(session: Session, check: str, script: list[str]) -> Finding:
    """Run a script as root in a session. Each has a network and a host name of its own."""
    text = "\n".join(("set -e", "exec 2>&1", *script))
    done = session.run(["sh", "-c", text], user="root", check=False)
    lines = list(dict.fromkeys(line for line in done.output.splitlines() if line.strip()))  # crm says things twice
    return Finding(check=check, ok=done.status == 0, output=() if done.status == 0 else tuple(lines[-_SHOWN:]))


def _become(node: Node) -> list[str]:
    """Lines of a script that give it a node's name and addresses."""
    lines = [f"hostname {shlex.quote(node.name)}"]
    for number, address in enumerate(node.addresses):
        length = 64 if ":" in address else 24
        lines.append(f"ip link add ring{number} type veth peer name far{number} 2>/dev/null")
        lines.append(f"ip address add {address}/{length} dev ring{number}")
        lines.append(f"ip link set ring{number} up")
    return lines


def _look_for_handlers(prefix: str) -> str:
    """A script that names each program of a handler that is not there."""
    return rf"""
        missing=0
        for program in $(grep -ohE '{prefix}/lib/drbd/[A-Za-z0-9._-]+' {prefix}/etc/drbd.d/*.res | sort -u); do
            [ -x "$program" ] || {{ echo "$program: not there, or not executable"; missing=1; }}
        done
        exit $missing"""


def _verify_crm(site: Site, prefix: str) -> str:
    """A script that loads the configuration into an empty CIB of the site's nodes and has it verified."""
    nodes = "".join(f'<node id="{node.id}" uname="{node.name}"/>' for node in site.nodes)
    # Without their state the nodes would be lost ones, and crm_verify would speak of nothing else.
    state = 'in_ccm="true" crmd="online" join="member" expected="member"'
    states = "".join(f'<node_state id="{node.id}" uname="{node.name}" {state}/>' for node in site.nodes)
    return rf"""
        export PATH={prefix}/sbin:{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
        umask 022
        folder=$(mktemp -d)
        CIB_file=$folder/cib.xml
        export CIB_file
        cibadmin --empty > "$CIB_file"
        sed -i -e 's|<nodes */>|<nodes>{nodes}</nodes>|' -e 's|<status */>|<status>{states}</status>|' \
            -e '1,/<cib /s|<cib |<cib have-quorum="1" |' "$CIB_file"
        file={prefix}/etc/ha-stack/cluster.crm
        told=$(crm --display plain --force configure load update $file 2>&1 </dev/null) || true
        echo "$told"
        case $told in *ERROR*|*rror:*) exit 1 ;; esac
        crm_verify --verbose --xml-file "$CIB_file"
        grep -q '<primitive' "$CIB_file" || ! grep -q '^primitive' $file"""
