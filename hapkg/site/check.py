"""A site's files before the programs that will read them, as they were built, in a chroot that is thrown away.

What a site file says of itself is checked when it is read. What the programs make of the files that follow from it,
only they know: corosync and drbdadm are asked as every node, with its name and addresses, and crm once for all. The
stack is installed once and kept as a layer.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.build.context import BuildContext
from hapkg.build.plan import find_visible
from hapkg.build.planner import make_plan
from hapkg.build.store import Artifact
from hapkg.chroot import schroot, sessions
from hapkg.chroot.base import DEFAULT_HOST
from hapkg.chroot.layer import enter_prepared
from hapkg.chroot.resolver import choose_relations, resolve
from hapkg.chroot.sessions import Session
from hapkg.control import BinaryName
from hapkg.disk import sha256_file
from hapkg.errors import BuildError, ProcessError, SiteError
from hapkg.site.agents import judge_agents, list_agents, look_for_agents
from hapkg.site.files import render_site
from hapkg.site.lines import SiteLines
from hapkg.site.model import Site
from hapkg.site.tables import Node
from hapkg.site.words import is_address

_SHOWN = 15
"""Lines of a program's refusal."""
_SECRET = b'common { net { cram-hmac-alg sha256; shared-secret "none"; } }\n'
"""In the form that ha-stack keygen writes on a node."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Verdict of one program on the site."""

    check: str
    ok: bool
    output: tuple[str, ...] = ()
    """Its last lines, when it refuses."""
    warnings: tuple[str, ...] = ()
    """Things that it could not look at."""


def check_site(context: BuildContext, site: Site, text: str, report: Callable[[str], None]) -> Iterator[Finding]:
    """Ask the stack's programs about the files of a site. The caller holds the store's lock; report is told each phase.

    text is the site file's, whose lines refusals are mapped to. Raises SiteError when the stack is not built for the
    suite.
    """
    prefix = context.project.settings.prefix
    with _enter_stack(context, site.parts, report) as session:
        files = render_site(site, context.project.settings, context.project.templates)
        lines = SiteLines(text, site, {path: content.decode() for path, content in files.items()})
        named = _invent_addresses(site)
        hosts = "".join(f"{address} {name}\n" for name, address in named.items())
        if any(resource.authenticate for resource in site.drbd):  # made on nodes, and in no package
            files = {**files, f"{prefix}/etc/ha-stack/drbd-secret.conf": _SECRET}
        _put_files(session, {**files, "/etc/hosts": f"127.0.0.1 localhost\n{hosts}".encode()})
        for node in site.nodes:
            report(f"ask as {node.name}")
            yield _ask(
                session, f"corosync, as {node.name}", [*_become(node, named), f"{prefix}/sbin/corosync -t"], lines, node
            )
            for module in sorted({resource.module for resource in site.drbd}):
                override = f"export DRBD_DRIVER_VERSION_OVERRIDE={'8.4.0' if module == '8.4' else '9.1.0'}"
                dump = f"{prefix}/sbin/drbdadm --config-file {prefix}/etc/drbd.conf dump all"
                yield _ask(session, f"drbdadm, as {node.name}", [*_become(node, named), override, dump], lines, node)
        if site.drbd:
            yield _ask(session, "handlers of drbd", [_look_for_handlers(prefix)], lines)
        report("ask crm")
        yield _ask(session, "crm and crm_verify", [_verify_crm(site, prefix)], lines)
        yield _look_at_agents(session, site, prefix, lines)


def show_cib(context: BuildContext, xml: str, report: Callable[[str], None]) -> str:
    """A cluster's configuration as crm shows it, from the XML of its CIB, which may come from anywhere.

    The caller holds the store's lock. Raises SiteError when crm does not understand it.
    """
    prefix = context.project.settings.prefix
    with _enter_stack(context, ("stack",), report) as session:
        _put_files(session, {"/tmp/cib.xml": xml.encode()})
        report("ask crm")
        path = f"{prefix}/sbin:{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        script = f"""
            export PATH={path} HOME=/root CIB_file=/tmp/cib.xml
            cibadmin --query > /dev/null && timeout 300 crm --display plain configure show 2> /dev/null"""
        done = session.run(["sh", "-ec", script], user="root", check=False)
    if done.status or not done.output.strip():
        details = _COLOUR.sub("", done.output).splitlines()[-_SHOWN:]
        raise SiteError("the CIB is none that crm understands", details=details, hint="cibadmin -Q prints one")
    return done.output


@contextlib.contextmanager
def _enter_stack(context: BuildContext, parts: Sequence[str], report: Callable[[str], None]) -> Iterator[Session]:
    """A session with parts of the stack, kept as a layer. Raises SiteError when they are not built for the suite."""
    prefix = context.project.settings.prefix
    state = context.store.state
    base = schroot.find_chroot(state, context.suite)
    builds = _find_builds(context)
    if base is None or not builds:
        raise SiteError(
            f"the stack, whose programs check a site, is not built for {context.suite}",
            hint=f"run: hapkg build-all --suite {context.suite}; or leave the programs out with --quick",
        )
    sessions.reclaim(state)
    log_path = state.logs / "site-check.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log, contextlib.ExitStack() as stack:
        try:
            names = [f"{context.project.settings.package_prefix}{part}" for part in parts]
            there = {package for build in builds for package in build.packages}
            if absent := [name for name in names if name not in there]:
                raise SiteError(
                    f"the site needs {', '.join(absent)}, which is not built for {context.suite}",
                    hint="build optional recipes: optional = [...] in [tool.hapkg], docs/recipes.md",
                )
            debs, relations = _choose_packages(builds, names)
            packages = resolve(base, relations, state, source="the stack")

            def prepare(session: Session) -> None:
                report("install the stack, once")
                session.install_local(debs, log=log, ordered=True)
                session.run([f"{prefix}/sbin/corosync-keygen", "-l"], user="root", log=log)

            content = {deb.name: sha256_file(deb) for deb in debs}
            entered = enter_prepared(state, base, packages, content, prepare, "site-check", log)
            session = stack.enter_context(entered)
        except (BuildError, ProcessError) as error:
            details = (*error.details, f"log: {log_path}")
            raise SiteError("the stack cannot be installed to check the site", details=details) from error
        yield session


def _look_at_agents(session: Session, site: Site, prefix: str, lines: SiteLines) -> Finding:
    """Look for each agent that a site names."""
    agents = list_agents(site)
    _, told = _run(session, [look_for_agents(site, agents, prefix)], DEFAULT_HOST)
    judgement = judge_agents(site, agents, told)
    refusals = tuple(lines.annotate(line) for line in judgement.refusals)
    return Finding(check="agents", ok=not refusals, output=refusals, warnings=judgement.warnings)


def _find_builds(context: BuildContext) -> tuple[Artifact, ...]:
    """Builds of the stack as its recipes stand now; none when a part of it, but for optional ones, is not built."""
    steps = make_plan(context, list(context.recipes))
    if any(step.artifact is None and step.source in context.selected for step in steps):
        return ()
    return tuple(step.artifact for step in steps if step.artifact is not None)


def _choose_packages(builds: Sequence[Artifact], names: Sequence[str]) -> tuple[list[Path], tuple[str, ...]]:
    """Files of packages of the stack and of all that they need, and the relations that the archive is to fulfil."""
    offered = {BinaryName(package): facts for build in builds for package, facts in build.packages.items()}
    chosen = find_visible([BinaryName(name) for name in names], offered)
    files = {deb.name.partition("_")[0]: deb for build in builds for deb in build.paths(".deb")}
    fields = [*(offered[package]["depends"] for package in chosen), "iproute2"]
    return [files[package] for package in chosen], choose_relations(fields, offered)


def _put_files(session: Session, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                member = tarfile.TarInfo(path[1:])
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))
        archive.seek(0)
        session.run(["tar", "-x", "--no-same-owner", "-C", "/"], user="root", stdin=archive)


def _ask(session: Session, check: str, script: list[str], lines: SiteLines, node: Node | None = None) -> Finding:
    """Run a script as root in a session, under the name of a node if one is given. Each has a network of its own."""
    status, told = _run(session, script, node.name if node else DEFAULT_HOST)
    shown = [] if status == 0 else [lines.annotate(line) for line in told[-_SHOWN:]]
    return Finding(check=check, ok=status == 0, output=tuple(shown))


def _run(session: Session, script: list[str], host: str) -> tuple[int, list[str]]:
    """Run a script as root: its exit code, and the lines that it prints, without colours, each once."""
    text = "\n".join(("set -e", "exec 2>&1", *script))
    done = session.run(["sh", "-c", text], user="root", host=host, check=False)
    plain = (_COLOUR.sub("", line) for line in done.output.splitlines())
    return done.status, list(dict.fromkeys(line for line in plain if line.strip()))  # crm says things twice


def _invent_addresses(site: Site) -> dict[str, str]:
    """Addresses for the names among a site's addresses, which nobody resolves here."""
    names = [(name, link) for node in site.nodes for link, name in enumerate(node.addresses) if not is_address(name)]
    return {name: f"198.18.{link}.{number % 250 + 1}" for number, (name, link) in enumerate(names)}


def _become(node: Node, named: Mapping[str, str]) -> list[str]:
    """Lines of a script that give it a node's addresses."""
    lines = []
    for number, said in enumerate(node.addresses):
        address = named.get(said, said)
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
    # Where sbd runs, pacemaker writes this itself.
    watched = "crm_attribute --type crm_config --name have-watchdog --update true" if site.fencing.sbd else ""
    return rf"""
        export PATH={prefix}/sbin:{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
        umask 022
        folder=$(mktemp -d)
        CIB_file=$folder/cib.xml
        export CIB_file
        cibadmin --empty > "$CIB_file"
        sed -i -e 's|<nodes */>|<nodes>{nodes}</nodes>|' -e 's|<status */>|<status>{states}</status>|' \
            -e '1,/<cib /s|<cib |<cib have-quorum="1" |' "$CIB_file"
        {watched}
        file={prefix}/etc/ha-stack/cluster.crm
        # Agents that are not here are another check's.
        known="-o core.ignore_missing_metadata=yes"
        told=$(crm --display plain --force $known configure load update $file 2>&1 </dev/null) || true
        echo "$told"
        case $told in *ERROR*|*rror:*|*"cib-bootstrap-options: unknown attribute"*) exit 1 ;; esac
        crm_verify --verbose --xml-file "$CIB_file"
        grep -q '<primitive' "$CIB_file" || ! grep -q '^primitive' $file"""
