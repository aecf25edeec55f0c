"""Every package of the stack in a later version, and back, under the daemons of a real cluster; then removal."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

import pytest

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine
from tests.system.acceptance.conftest import SITE_PACKAGE
from tests.system.acceptance.formation import FOLDER, Cluster, start
from tests.system.acceptance.repack import repack

SUFFIX = "+later1"
DAEMONS = """cat /proc/[0-9]*/stat 2>/dev/null | awk '{ name[$1] = $2; parent[$1] = $4; start[$1] = $22 }
    END { for (pid in name) if (name[pid] != name[parent[pid]]) print pid, name[pid], start[pid] }' |
    grep -E ' [(](corosync|pacemaker)' | sort"""
"""Pid, name and time of start of every daemon, but not of what one forks for a moment, as to write the CIB."""
SITE_FILES = f"cd {FOLDER} && sha256sum corosync.conf authkey && stat -c '%a %U %Y %i' authkey"
STATE = "find /opt/ha/etc /opt/ha/var -type f | sort | xargs sha256sum"
ALONE = """
totem {
    version: 2
    cluster_name: alone
    transport: knet
    crypto_model: openssl
    crypto_cipher: aes256
    crypto_hash: sha256
}
nodelist {
    node {
        name: stranger
        nodeid: 1
        ring0_addr: 192.168.132.13
    }
}
quorum {
    provider: corosync_votequorum
}
"""
BY_HAND = {
    "/opt/ha/etc/dlm/dlm.conf": "log_debug=1\n",
    "/opt/ha/etc/drbd.d/ha.res": """resource ha0 {
    device /dev/drbd0;
    disk /dev/vgha/lvdrbd0;
    meta-disk internal;
    on stranger {
        address 192.168.132.13:7789;
    }
    on other {
        address 192.168.132.14:7789;
    }
}
""",
}
"""The file that an administrator without a site's package writes beside corosync.conf."""
UPDATE = "apt-get update -o Dir::Etc::sourcelist=/dev/null -o APT::Get::List-Cleanup=0"
"""The machines' network reaches no archive; their repositories are folders."""


def list_installed(machine: Machine) -> Mapping[str, str]:
    """Installed packages of the stack and their versions."""
    told = machine.run("dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' 'ha-*'").stdout
    return dict(line.split()[1:] for line in told.splitlines() if line.startswith("installed "))


def list_later(machine: Machine) -> set[str]:
    """Packages that are installed in the later version."""
    return {name for name, version in list_installed(machine).items() if version.endswith(SUFFIX)}


def list_acts(cluster: Cluster) -> set[tuple[str, ...]]:
    """Operations of the cluster on every node: name, number and the time of the last change."""
    cib = ET.fromstring(cluster.one.run("cibadmin --query").stdout)
    facts = ("operation_key", "on_node", "call-id", "rc-code", "last-rc-change")
    return {tuple(act.get(fact, "") for fact in facts) for act in cib.iter("lrm_rsc_op")}


def observe(cluster: Cluster) -> list[object]:
    """Everything that an installation must not change, once the cluster has nothing left to do."""
    cluster.one.run("crm_resource --wait")
    looks = [machine.run(look).stdout for machine in cluster.nodes for look in (DAEMONS, SITE_FILES)]
    return [*looks, list_acts(cluster), cluster.one.run("crm configure show").stdout]


def hold_still(cluster: Cluster, before: list[object]) -> None:
    """The cluster is whole, and its daemons, files, resources and configuration are what they were."""
    assert cluster.is_whole()
    assert observe(cluster) == before


@pytest.fixture(scope="module")
def versions(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """ha-stack's version on the nodes, and a later one of every package, which their apt knows."""
    cluster.wait_until_served()
    installed = list_installed(cluster.one)
    assert list_installed(cluster.two) == installed
    pool = cluster.one.root / "srv/apt/pool"
    debs = [next(pool.rglob(f"{name}_{version}_*.deb")) for name, version in installed.items()]
    folder = tmp_path_factory.mktemp("later") / "later"
    later = repack(debs, folder, SUFFIX)
    for machine in (*cluster.nodes, cluster.stranger):
        shutil.copytree(folder, machine.root / "srv/later")
        source = machine.root / "etc/apt/sources.list.d/later.list"
        source.write_text("deb [trusted=yes] file:/srv/later ./\n")
        machine.run(UPDATE)
    yield installed["ha-stack"], later["ha-stack"]
    for machine in cluster.nodes:  # no version of ha-stack pins the site's package
        machine.run(f"apt-get install -y --allow-downgrades {SITE_PACKAGE}={installed[SITE_PACKAGE]}")
    for machine in (*cluster.nodes, cluster.stranger):
        shutil.rmtree(machine.root / "srv/later")
        (machine.root / "etc/apt/sources.list.d/later.list").unlink()
        machine.run(UPDATE)


def test_a_later_version_of_everything_moves_nothing(cluster: Cluster, versions: tuple[str, str]) -> None:
    before = observe(cluster)
    assert len(str(before[0]).splitlines()) >= 7
    for machine in cluster.nodes:
        installed = list_installed(machine)
        machine.run(f"apt-get install -y ha-stack {SITE_PACKAGE}")
        assert list_installed(machine) == {name: version + SUFFIX for name, version in installed.items()}
        hold_still(cluster, before)
    assert re.search("corosync, pacemakerd.* run from before an upgrade", cluster.two.tell("ha-stack check"))
    assert versions[1] in cluster.one.run("dpkg-query -W ha-stack").stdout


def test_the_earlier_version_of_everything_moves_nothing(cluster: Cluster, versions: tuple[str, str]) -> None:
    before = observe(cluster)
    earlier = f"ha-stack={versions[0]}"
    pins = f"$(apt-cache show {earlier} | grep -o 'ha-[a-z0-9-]* (= [^)]*' | sed 's/ (= /=/')"  # docs/repository.md
    cluster.one.run(f"apt-get install -y --allow-downgrades {earlier} {pins}")
    assert list_later(cluster.one) == {SITE_PACKAGE}
    hold_still(cluster, before)


def test_a_node_goes_back_with_all_its_packages(cluster: Cluster, versions: tuple[str, str]) -> None:
    files = cluster.two.run(SITE_FILES).stdout
    cluster.two.run(f"ha-stack upgrade-node --to {versions[0]}")
    cluster.wait_until_served()
    assert list_later(cluster.two) == {SITE_PACKAGE}
    assert cluster.two.run(SITE_FILES).stdout == files
    assert not re.search("before an upgrade", cluster.two.tell("ha-stack check"))


def test_what_removal_and_purge_leave(cluster: Cluster) -> None:
    # On the machine that is no member: it becomes a cluster of its own.
    machine = cluster.stranger
    installed = list_installed(machine)
    packages = " ".join(installed)
    (machine.root / FOLDER[1:] / "corosync.conf").write_text(ALONE)
    (machine.root / FOLDER[1:] / "authkey").unlink(missing_ok=True)
    machine.run("ha-stack keygen")
    for path, text in BY_HAND.items():
        (machine.root / path[1:]).parent.mkdir(exist_ok=True)
        (machine.root / path[1:]).write_text(text)
    start(machine)
    wait_until(lambda: "Online: [ stranger ]" in machine.tell("crm_mon -1"), "cluster of one", seconds=180)
    daemons = machine.run(DAEMONS).stdout
    for act in (f"remove {packages}", "remove ha-corosync", f"purge {packages}"):
        done = machine.run(f"apt-get -y {act} 2>&1", check=False)
        assert done.returncode != 0
        assert "stop the cluster on this node first" in done.stdout
        assert machine.run(DAEMONS).stdout == daemons
        assert list_installed(machine) == installed
    machine.run("service pacemaker stop; service corosync stop")

    written = set(machine.run(STATE).stdout.splitlines())
    owned = set(machine.run("cat /var/lib/dpkg/info/ha-*.list").stdout.splitlines())
    state = {line for line in written if line.split()[1] not in owned}
    expected = {f"{FOLDER}/corosync.conf", f"{FOLDER}/authkey", "/opt/ha/var/lib/pacemaker/cib/cib.xml", *BY_HAND}
    assert expected <= {line.split()[1] for line in state}
    machine.run(f"apt-get remove -y {packages}")
    assert state <= set(machine.run(STATE).stdout.splitlines())
    assert machine.run("find /opt/ha -type f -perm /111").stdout == ""
    machine.run(f"apt-get purge -y {packages}")
    left = machine.run("find /opt/ha -type f | sort | xargs sha256sum").stdout
    assert set(left.splitlines()) == state
    machine.run("id hacluster && getent group haclient")

    machine.run("apt-get install -y --allow-downgrades " + " ".join(f"{n}={v}" for n, v in installed.items()))
    assert set(machine.run(STATE).stdout.splitlines()) >= state
    for path in (f"{FOLDER}/corosync.conf", f"{FOLDER}/authkey", *BY_HAND):
        (machine.root / path[1:]).unlink()
