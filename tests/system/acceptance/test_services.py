"""The examples of docs/sites with the real programs: formed under systemd, served, and served on after a power cut.

NFS and iSCSI are by the kernel, on DRBD: modules that namespaces do not have.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.machine import wait_until
from tests.system.acceptance.cluster import Machine, boot_systemd, make_switch
from tests.system.acceptance.conftest import CHECKOUT, Node, Stack, build_site, make_node
from tests.system.acceptance.fencing import AGENT
from tests.system.acceptance.formation import FOLDER, locate

PATIENCE = 300
PACKAGES = "systemd-sysv dbus iproute2 iputils-ping procps curl ha-stack apache2 haproxy postgresql mariadb-server"
UNITS = "apache2 haproxy postgresql mariadb"
UNUSED = "console-getty getty@tty1 systemd-logind e2scrub_reap e2scrub_all.timer apt-daily.timer"
PREPARE = f"""
systemctl disable {UNITS}
systemctl mask {UNUSED}
echo 'a page' > /var/www/html/index.html
cat >> /etc/haproxy/haproxy.cfg <<'END'
frontend web
    mode http
    bind *:8080
    http-request return status 200 content-type text/plain string ok
END
conf=$(ls -d /etc/postgresql/*/main)
echo "listen_addresses = '*'" >> $conf/postgresql.conf
printf '%s\\n' 'host replication all 192.168.132.0/24 trust' 'host all all 192.168.132.0/24 trust' >> $conf/pg_hba.conf
cat > /etc/mysql/mariadb.conf.d/99-galera.cnf <<'END'
[galera]
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = db
binlog_format = row
innodb_autoinc_lock_mode = 2
bind-address = 0.0.0.0
END
rm -f /etc/machine-id /var/lib/dbus/machine-id
"""
VIP = "192.168.132.100"


@dataclass
class Rack:
    """Machines that are switched on and off, and the cluster of an example on them."""

    roots: list[Path]
    switch: int
    running: dict[str, tuple[Machine, contextlib.ExitStack]] = field(default_factory=dict)

    def boot(self, number: int, name: str) -> None:
        """Switch a machine on, by the name that the example gives it."""
        scope = contextlib.ExitStack()
        machine = boot_systemd(self.roots[number], self.switch, name=name, address=f"192.168.132.{11 + number}/24")
        self.running[name] = (scope.enter_context(machine), scope)

    def cut(self, name: str) -> None:
        """Pull a machine's plug."""
        self.running.pop(name)[1].close()

    def close(self) -> None:
        """Pull every plug."""
        for name in list(self.running):
            self.cut(name)

    def __getitem__(self, name: str) -> Machine:
        return self.running[name][0]

    def describe(self) -> str:
        """Evidence of all that run."""
        look = "crm_mon -1rfA; journalctl --no-pager -b -u pacemaker -n 80"
        return "\n".join(machine.tell(look) for machine, _ in self.running.values())

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that the cluster does."""
        wait_until(condition, what, seconds=PATIENCE, evidence=self.describe)


@pytest.fixture(scope="module")
def rack(bare_node: Path, stack: Stack) -> Iterator[Rack]:
    """Three machines with the stack and the programs of all examples, off. The first is installed, then copied."""
    with contextlib.ExitStack() as scope:
        first = scope.enter_context(make_node(bare_node, stack, None))
        first.run(f"apt-get update && apt-get install -y --no-install-recommends {PACKAGES}", hostname="first")
        first.run(PREPARE)
        agent = first.root / "opt/ha/sbin/fence_standin"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        roots = [first.root]
        for number in (2, 3):
            copy = first.root.with_name(f"root{number}")
            subprocess.run(["cp", "-a", str(first.root), str(copy)], check=True)
            roots.append(copy)
        made = Rack(roots, scope.enter_context(make_switch()))
        scope.callback(made.close)
        yield made


def adapt(text: str) -> str:
    """An example with this laboratory's addresses and power switches; everything else as it stands."""
    text = text.replace("192.0.2.", "192.168.132.").replace('"fence_ipmilan"', '"fence_standin"')
    text = re.sub(r"parameters = \{ ip = .*", 'parameters = { outlet = "red" }', text)
    return text.replace("192.168.132.1 192.168.132.2", "192.168.132.11 192.168.132.12")


@contextlib.contextmanager
def form(rack: Rack, text: str, folder: Path) -> Iterator[list[str]]:
    """The cluster of a site file on machines of the rack: names of its nodes. Afterwards they are free for another."""
    package = build_site(text, folder)
    names = re.findall(r'(?m)^\[\[nodes\]\]\nname = "(.*)"', text)
    hosts = "".join(f"192.168.132.{11 + number} {name}\n" for number, name in enumerate(names))
    for number, name in enumerate(names):
        root = rack.roots[number]
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        (root / "etc/hostname").write_text(f"{name}\n")
        shutil.copy(package, root / "root/site.deb")
        needs = "apt-get update && apt-get install -y --no-install-recommends /root/site.deb"
        Node(root=root).run(needs, hostname=name)
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(rack.boot, range(len(names)), names))
        one = rack[names[0]]
        one.run("ha-stack keygen")
        for name in names[1:]:
            shutil.copy2(one.root / FOLDER[1:] / "authkey", rack[name].root / FOLDER[1:] / "authkey")
        for name in names:
            rack[name].run("systemctl start corosync pacemaker")
        rack.wait(lambda: all(f" {name} " in find_online(one) for name in names), "cluster")
        one.run("ha-stack bootstrap")
        yield names
    finally:
        rack.close()
        for number, name in enumerate(names):
            clear = (
                "apt-get purge -y 'ha-stack-site*'; rm -rf /opt/ha/etc/corosync/authkey /opt/ha/var/lib/pacemaker/cib/*"
            )
            Node(root=rack.roots[number]).run(clear, hostname=name)


def find_online(machine: Machine) -> str:
    told = re.search(r"\* Online: \[(.*)\]", machine.tell("crm_mon -1"))
    return told[1] if told else ""


def serves(machine: Machine, command: str, words: str) -> bool:
    return words in machine.tell(f"timeout 20 {command} 2>&1")


def fail_over(rack: Rack, names: list[str], resource: str, ask: str, words: str) -> None:
    """A service answers; its machine loses power; another node answers in its place."""
    rack.wait(lambda: locate(rack[names[0]], resource) != "", resource)
    place = locate(rack[names[0]], resource)
    witness = rack[next(name for name in names if name != place)]
    rack.wait(lambda: serves(witness, ask, words), "answer")
    rack.cut(place)
    rack.wait(lambda: locate(witness, resource) not in ("", place), "move")
    rack.wait(lambda: serves(witness, ask, words), "answer after the power cut")
    assert f"reboot {place} red" in "".join(
        machine.tell("cat /root/struck 2>/dev/null") for machine, _ in rack.running.values()
    )


def test_a_web_server_is_served_on(rack: Rack, tmp_path: Path) -> None:
    with form(rack, adapt((CHECKOUT / "docs/sites/web.toml").read_text()), tmp_path) as names:
        fail_over(rack, names, "site_server", f"curl -s http://{VIP}/", "a page")


def test_haproxy_is_served_on(rack: Rack, tmp_path: Path) -> None:
    text = adapt((CHECKOUT / "docs/sites/haproxy.toml").read_text())
    # The vote of a third machine is another test's: here one of two goes on alone.
    text = re.sub(r"(?ms)^\[quorum\.device\]\n.*?\n\n", "", text)
    with form(rack, text, tmp_path) as names:
        fail_over(rack, names, "balance_proxy", f"curl -s http://{VIP}:8080/", "ok")


def test_postgresql_follows_the_one_that_may_write(rack: Rack, tmp_path: Path) -> None:
    (version,) = (file.parent.name for file in rack.roots[0].glob("etc/postgresql/*/main"))
    text = adapt((CHECKOUT / "docs/sites/postgresql.toml").read_text()).replace("/15/", f"/{version}/")
    with form(rack, text, tmp_path) as names:
        rack.wait(lambda: locate(rack[names[0]], "database_ip1") != "", "promoted database")
        write = functools.partial('psql -h {} -U postgres -c "{}"'.format, VIP)
        witness = rack[next(name for name in names if name != locate(rack[names[0]], "database_ip1"))]
        rack.wait(lambda: serves(witness, write("create table if not exists kept (a int)"), "CREATE TABLE"), "table")
        rack.wait(lambda: serves(witness, write("insert into kept values (42)"), "INSERT"), "row")
        rack.wait(lambda: witness.tell("crm_mon -1rA").count("STREAMING|") >= 1, "a standby that follows")
        fail_over(rack, names, "database_ip1", write("select * from kept"), "42")
        rack.wait(
            lambda: serves(next(m for m, _ in rack.running.values()), write("insert into kept values (43)"), "INSERT"),
            "row",
        )


ROWS = "create database kept; create table kept.rows (a int primary key); insert into kept.rows values (42)"


def test_galera_is_written_to_after_a_power_cut(rack: Rack, tmp_path: Path) -> None:
    read, write = 'mysql -e "select * from kept.rows"', 'mysql -e "insert into kept.rows values (43)" && echo done'
    with form(rack, adapt((CHECKOUT / "docs/sites/galera.toml").read_text()), tmp_path) as names:
        one, two, three = (rack[name] for name in names)
        where = "crm_resource --resource database_server --locate"
        rack.wait(lambda: one.tell(where).count("Promoted") == len(names), "three nodes that write")
        one.run(f'mysql -e "{ROWS}"')
        rack.wait(lambda: serves(two, read, "42") and serves(three, read, "42"), "row on all nodes")
        rack.cut(one.name)
        rack.wait(lambda: serves(two, write, "done"), "another row")
        rack.wait(lambda: serves(three, read, "43"), "row on the other node")
