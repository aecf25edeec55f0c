"""A build's view of the machine, and its rights there."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.chroot.test_build import read_content
from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import Miniature, make_plain_source

# Each line of the report is NAME=VALUE, without the folder of the build, which no packaged file may name. cron is a
# daemon that a build dependency brings.
PROBE = """\
#!/bin/bash
tell() { echo "$1=${2//\\/build\\//BUILD/}" >> report; }
for name in PREFIX PKG_CONFIG_PATH LCRSODIR LDFLAGS CPPFLAGS CFLAGS CLUSTER_USER CLUSTER_GROUP PATH; do
    tell "$name" "${!name}"
done
tell user "$(id -u) $(id -un)"
tell groups "$(id -Gn)"
tell privileges "$(sed -n 's/^NoNewPrivs:\\t//p' /proc/self/status)"
tell interfaces "$(sed '1,2d; s/:.*//' /proc/net/dev | xargs)"
tell host "$(hostname)"
tell leak "$SECRET"
tell first-process "$(tr '\\0' ' ' < /proc/1/cmdline | cut -c 1-5)"
tell cron "$(test -x /usr/sbin/cron && echo installed) $(test -e /run/crond.pid && echo running || echo stopped)"
tell written "$(touch /etc/probe 2>/dev/null && echo yes || echo no)"
(exec 3<>/dev/tcp/127.0.0.1/PORT) 2>/dev/null && tell host-listener reached || tell host-listener unreachable
perl -MIO::Socket::INET -e '
    my $there = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
    my $here = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $there->sockport) or die;' \\
    && tell own-loopback works || tell own-loopback broken
"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The probe's report, written while it was compiled."""

    values: Mapping[str, str]
    log: str
    knocks: int
    """Connections that reached the host's listener during the build."""


@pytest.fixture(scope="module")
def report(hapkg: Hapkg, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """A source that looks around while it is compiled, built beside a listener on the host's loopback."""
    project = Miniature.create(tmp_path_factory.mktemp("probe") / "project", suite=SUITE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        source = make_plain_source(
            build=["bash ./probe"],
            install=["mkdir -p $(DESTDIR)$(prefix)/share/plain", "cp report $(DESTDIR)$(prefix)/share/plain/"],
            probe=PROBE.replace("PORT", str(port)),
        )
        project.add("probe", source, build_depends=["cron"])
        done = hapkg.on(project.root).succeed("build", "probe", "--no-lintian", "--json", SECRET="leaked")
        listener.setblocking(False)
        knocks = _count(listener)
        subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], check=True)
        assert _count(listener) == 1, "the probe's way to knock works from the host"
    folder = hapkg.folder(done.outcomes["ha-probe"])
    (deb,) = folder.glob("*.deb")
    lines = read_content(deb)["/opt/ha/share/plain/report"].decode().splitlines()
    values = dict(line.partition("=")[::2] for line in lines)
    yield Report(values=values, log=(folder / "build.log").read_text(), knocks=knocks)


def _count(listener: socket.socket) -> int:
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_an_unprivileged_user_compiles(report: Report) -> None:
    seen = {name: report.values[name] for name in ("user", "groups", "privileges", "written")}
    assert seen == {
        "user": "2952 hapkg",
        "groups": "hapkg",
        "privileges": "1",
        "written": "no",
    }


def test_a_build_has_no_network_but_its_own_loopback(report: Report) -> None:
    assert report.knocks == 0
    seen = {name: report.values[name] for name in ("host-listener", "own-loopback", "interfaces")}
    assert seen == {"host-listener": "unreachable", "own-loopback": "works", "interfaces": "lo"}


def test_no_daemon_starts(report: Report) -> None:
    assert report.values["cron"] == "installed stopped"
    assert "policy-rc.d denied execution of start" in report.log


def test_nothing_of_the_host_leaks_in(report: Report) -> None:
    assert {name: report.values[name] for name in ("leak", "host")} == {"leak": "", "host": "hapkg"}
    assert report.values["first-process"].startswith("sh -c"[:5])


def test_debian_rules_sees_the_environment_of_exports_sh(report: Report) -> None:
    fixed = {name: report.values[name] for name in ("PREFIX", "PKG_CONFIG_PATH", "LCRSODIR", "CLUSTER_USER")}
    assert fixed == {
        "PREFIX": "/opt/ha",
        "PKG_CONFIG_PATH": "/opt/ha/lib/pkgconfig:/opt/ha/share/pkgconfig",
        "LCRSODIR": "/opt/ha/libexec/lcrso",
        "CLUSTER_USER": "hacluster",
    }
    assert report.values["CLUSTER_GROUP"] == "haclient"
    assert report.values["PATH"].startswith("/opt/ha/sbin:/opt/ha/bin:")
    assert report.values["LDFLAGS"].endswith(" -L/opt/ha/lib -Wl,-rpath,/opt/ha/lib -Wl,--enable-new-dtags")
    assert report.values["CPPFLAGS"].startswith("-I/opt/ha/include ")
    assert report.values["CFLAGS"].endswith(" -I/opt/ha/include")
    for name in ("CFLAGS", "LDFLAGS"):
        assert report.values[name].startswith("-g -O2" if name == "CFLAGS" else "-Wl,-z,relro"), "Debian's come first"


def test_the_sources_own_exports_sh_gives_the_same(report: Report, hapkg: Hapkg, tmp_path: Path) -> None:
    (dsc,) = (hapkg.cache / "builds").glob("*/ha-probe_*.dsc")
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-source", "--no-check", "-x", str(dsc), str(tree)], capture_output=True, check=True)
    names = ("PREFIX", "PKG_CONFIG_PATH", "LCRSODIR", "CLUSTER_USER", "CLUSTER_GROUP", "PATH")
    script = ". debian/exports.sh\n" + "\n".join(f'echo "{name}=${name}"' for name in names)
    base = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    told = subprocess.run(["sh", "-c", script], cwd=tree, env=base, capture_output=True, text=True, check=True)
    sourced = dict(line.partition("=")[::2] for line in told.stdout.splitlines())
    assert sourced == {name: report.values[name] for name in names}
