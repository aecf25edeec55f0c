"""Whose configuration a node takes: its own cluster's, also from a package of before, and no other's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.acceptance.conftest import CHECKOUT, SITE_PACKAGE, Node, Stack, build_site, make_node

EXAMPLE = (CHECKOUT / "docs/site.example.toml").read_text()
INSTALLED = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' 'ha-stack-site*' | grep ^installed"
LOOK = f"sha256sum /opt/ha/etc/corosync/corosync.conf /opt/ha/etc/ha-stack/*; {INSTALLED}"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Path:
    """The package of the example's site."""
    assert stack.outcomes
    return build_site(EXAMPLE, tmp_path_factory.mktemp("own"))


def make_former(package: Path, folder: Path) -> Path:
    """The package as it was before it had its cluster's name."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN/control"
    text = re.sub(r"(?m)^(Provides|Breaks|Replaces|Source): .*\n", "", control.read_text())
    text = text.replace(f"Package: {SITE_PACKAGE}", "Package: ha-stack-site")
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 1+ha12.4", text))
    for former in [*tree.glob(f"usr/*/*/{SITE_PACKAGE}*"), *tree.glob(f"usr/*/*/*/{SITE_PACKAGE}*")]:
        former.rename(former.with_name(former.name.replace(SITE_PACKAGE, "ha-stack-site")))
    (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
    file = tree / "opt/ha/etc/corosync/corosync.conf"
    file.write_text(file.read_text().replace(SITE_PACKAGE, "ha-stack-site"))
    deb = folder / "former.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def test_a_node_of_before_is_carried_over_while_it_serves(
    node: Node, stack: Stack, package: Path, tmp_path: Path
) -> None:
    with make_node(node.root, stack, stack.url) as member:
        folder = member.root / "srv/new"
        folder.mkdir()
        for deb in package.parent.glob("*.deb"):
            shutil.copy(deb, folder)
        shutil.copy(make_former(package, tmp_path), member.root / "root/former.deb")
        told = member.run(
            f"""apt-get install -y /root/former.deb >&2
            echo '# by hand' >> /opt/ha/etc/ha-stack/cluster.crm
            mv /opt/ha/sbin/corosync /root/; cp /bin/sleep /opt/ha/sbin/corosync
            /opt/ha/sbin/corosync 600 &
            apt-get install -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /srv/new/*.deb >&2
            kill %1; mv /root/corosync /opt/ha/sbin/
            dpkg-query -W -f '${{Package}} ${{Version}} ${{db:Status-Status}}\\n' 'ha-stack-site*'
            dpkg-query -S /opt/ha/etc/corosync/corosync.conf
            tail -1 /opt/ha/etc/ha-stack/cluster.crm
            grep -c {SITE_PACKAGE} /opt/ha/etc/corosync/corosync.conf
            apt-get purge -y ha-stack-site >&2; ls /opt/ha/etc/ha-stack""",
            hostname="fiesta-ha1",
        ).stdout.splitlines()
    assert [line.split()[::2] for line in told[:2]] == [["ha-stack-site", "installed"], [SITE_PACKAGE, "installed"]]
    assert {line.split()[1][:2] for line in told[:2]} == {"2+"}
    assert told[2:5] == [f"{SITE_PACKAGE}: /opt/ha/etc/corosync/corosync.conf", "# by hand", "1"]
    assert {"cluster.crm", "site.json"} <= set(told[5:])


def test_no_machine_takes_what_is_not_its_own(node: Node, stack: Stack, package: Path, tmp_path: Path) -> None:
    other = build_site(EXAMPLE.replace('"fiestaha"', '"otherha"'), tmp_path / "other")
    with make_node(node.root, stack, stack.url) as member:
        for deb, name in ((package, "own.deb"), (other, "other.deb")):
            shutil.copy(deb, member.root / "root" / name)
        refused = member.run("apt-get install -y /root/own.deb 2>&1", check=False, hostname="web7")
        assert refused.returncode != 0
        assert "web7 is no node of fiestaha: fiesta-ha1, fiesta-ha2" in refused.stdout
        assert member.run(f"ls /opt/ha/etc/ha-stack/site.json; {LOOK}", check=False).stdout == ""
        member.run("apt-get install -y /root/own.deb", hostname="fiesta-ha2.example.org")
        before = member.run(LOOK).stdout
        refused = member.run("apt-get install -y /root/other.deb 2>&1", check=False, hostname="fiesta-ha2")
        assert refused.returncode != 0
        assert "this machine has the configuration of the cluster fiestaha, not of otherha" in refused.stdout
        assert member.run("dpkg --audit").stdout == ""
        assert member.run(LOOK).stdout == before
        member.run("HA_STACK_ANY_MACHINE=1 apt-get install -y --reinstall /root/own.deb", hostname="web7")
        member.run("apt-get purge -y 'ha-stack-site*' && apt-get install -y /root/other.deb", hostname="fiesta-ha2")
