"""The examples of docs/sites with the real programs: formed under systemd, served, and served on after a power cut.

NFS and iSCSI are by the kernel, on DRBD: modules that namespaces do not have.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.acceptance.cluster import make_switch
from tests.system.acceptance.conftest import CHECKOUT, Stack, make_node
from tests.system.acceptance.fencing import AGENT
from tests.system.acceptance.rack import Formed, Rack, adapt, form

SITES = CHECKOUT / "docs/sites"
PROGRAMS = "apache2 haproxy postgresql mariadb-server rsync"
PACKAGES = f"systemd-sysv dbus iproute2 iputils-ping procps openssh-server ha-stack ha-corosync-qnetd {PROGRAMS}"
UNITS = "apache2 haproxy postgresql mariadb ssh corosync-qnetd"
# Of no use without hardware, and each would be started, and fail, at every boot.
UNUSED = "console-getty getty@tty1 systemd-logind e2scrub_reap e2scrub_all.timer apt-daily.timer"
PREPARE = f"""
systemctl disable {UNITS}
systemctl mask {UNUSED}
cat >> /etc/haproxy/haproxy.cfg <<'END'
frontend web
    mode http
    bind :::8080 v4v6
    http-request return status 200 content-type text/plain lf-string %[hostname]
END
for conf in /etc/postgresql/*/main; do
    echo "listen_addresses = '*'" >> $conf/postgresql.conf
    printf '%s\\n' 'host replication all 192.0.2.0/24 trust' 'host all all 192.0.2.0/24 trust' >> $conf/pg_hba.conf
done
cat > /etc/mysql/mariadb.conf.d/99-galera.cnf <<'END'
[galera]
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = db
wsrep_cluster_address = gcomm://db1,db2,db3
binlog_format = row
innodb_autoinc_lock_mode = 2
bind-address = 0.0.0.0
END
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
echo 'StrictHostKeyChecking accept-new' > /root/.ssh/config
rm -f /var/lib/dbus/machine-id
"""
ADDRESS = "192.0.2.100"
ARBITER = ("arbiter", "192.0.2.90/24")
CLIENT = "ip address add 192.0.2.200/24 dev switch; ip address add 2001:db8::200/64 dev switch nodad"


@pytest.fixture(scope="module")
def rack(bare_node: Path, stack: Stack) -> Iterator[Rack]:
    """Three machines with the stack and the programs of all examples, off. The first is installed, then copied."""
    with contextlib.ExitStack() as scope:
        first = scope.enter_context(make_node(bare_node, stack, None))
        first.run(f"apt-get update && apt-get install -y --no-install-recommends {PACKAGES}", hostname="first")
        (first.root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        first.run(PREPARE)
        agent = first.root / "opt/ha/sbin/fence_standin"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        roots = [first.root]
        for number in (2, 3):
            roots.append(first.root.parent / str(number) / "root")  # no name of a root begins another one's
            roots[-1].parent.mkdir()
            subprocess.run(["cp", "-a", str(first.root), str(roots[-1])], check=True)
        for root in roots:  # without one, systemd takes it for a first boot, and enables all that there is
            (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        made = Rack(roots, scope.enter_context(make_switch()))
        made.call(CLIENT)
        scope.callback(made.close)
        yield made


def test_a_web_server_is_served_on(rack: Rack, tmp_path: Path) -> None:
    def tell_names(formed: Formed) -> None:
        for name in formed.names:
            (rack[name].root / "var/www/html/index.html").write_text(f"page of {name}\n")

    with form(rack, adapt((SITES / "web.toml").read_text()), tmp_path, prepare=tell_names) as formed:
        page = f"curl -sS --max-time 5 http://{ADDRESS}/"
        rack.wait(lambda: rack.call(page) == "page of web1\n", "page of the preferred node")
        rack["web1"].run("systemctl stop apache2")
        assert rack.call(page) == ""
        rack.wait(lambda: rack.call(page) == "page of web1\n", "server that pacemaker started anew")
        formed.lose("web1")
        rack.wait(lambda: rack.call(page) == "page of web2\n", "page of the other node")
        formed.boot("web1")
        formed.start("web1")
        formed.wait_until_online()
        rack["web2"].run("crm_resource --wait")
        assert rack.call(page) == "page of web2\n"  # its stickiness is more than the preference


def test_haproxy_is_served_on_and_the_third_machine_has_a_vote(rack: Rack, tmp_path: Path) -> None:
    def vote(formed: Formed) -> None:
        arbiter = rack.boot(2, *ARBITER)
        arbiter.run("ip address add 192.0.2.1/24 dev ring0; ip address add 192.0.2.2/24 dev ring0; systemctl start ssh")
        for number, name in enumerate(formed.names, 11):
            rack[name].run(f"ip address add 2001:db8::{number}/64 dev ring0 nodad; systemctl start ssh")
        (line,) = re.findall(r"corosync-qdevice-net-certutil .*", rack["lb1"].run("ha-stack prepare").stdout)
        rack["lb1"].run(line)
        arbiter.run("systemctl start corosync-qnetd")

    text = adapt((SITES / "haproxy.toml").read_text())
    with form(rack, text, tmp_path, prepare=vote, more="corosync-qdevice") as formed:
        quorum = "corosync-quorumtool -s"
        rack.wait(lambda: re.search(r"Total votes:\s+3", rack["lb1"].tell(quorum)) is not None, "vote of the device")
        pages = [f"curl -sS -g --max-time 5 http://{host}:8080/" for host in (ADDRESS, "[2001:db8::100]")]
        place = formed.wait_until_placed("balance_proxy")
        rack.wait(lambda: [rack.call(page) for page in pages] == [place, place], "answer at both addresses")
        formed.lose(place)
        (other,) = (name for name in formed.names if name != place)
        rack.wait(lambda: [rack.call(page) for page in pages] == [other, other], "answer of the other node")
        assert re.search(r"Quorate:\s+Yes", rack[other].tell(quorum))
        # A node that reaches nobody of those that it pings has no address, either.
        rack["arbiter"].run("ip address del 192.0.2.1/24 dev ring0; ip address del 192.0.2.2/24 dev ring0", check=False)
        rack.wait(lambda: [rack.call(page) for page in pages] == ["", ""], "end of a service without a network")


def test_postgresql_follows_the_one_that_may_write(rack: Rack, tmp_path: Path) -> None:
    (version,) = (file.parent.name for file in rack.roots[0].glob("etc/postgresql/*/main"))
    text = adapt((SITES / "postgresql.toml").read_text()).replace("/15/", f"/{version}/")
    ask = f"timeout 20 psql -h {ADDRESS} -U postgres -tAc"
    with form(rack, text, tmp_path) as formed:
        place = formed.wait_until_placed("database_ip1")
        (one, two) = (name for name in formed.names if name != place)
        # One that follows without being waited for could lack rows: the agent promotes none such.
        rack.wait(
            lambda: "STREAMING|SYNC" in rack[one].tell("crm_mon -1A"), "a standby that has each row before it counts"
        )
        rack[one].run(f'{ask} "create table kept (a int)" && {ask} "insert into kept values (42)"')
        formed.lose(place)
        after = formed.wait_until_placed("database_ip1", place)
        other = rack[one if after == two else two]
        rack.wait(lambda: "INSERT" in other.tell(f'{ask} "insert into kept values (43)"'), "a row after the power cut")
        assert other.run(f'{ask} "select a from kept order by a"').stdout.split() == ["42", "43"]


def test_galera_is_written_to_after_a_power_cut(rack: Rack, tmp_path: Path) -> None:
    table = "create database if not exists kept; create table if not exists kept.rows (a int primary key)"
    rows = f"{table}; replace into kept.rows values (42)"
    read, add = 'mariadb -Nse "select a from kept.rows order by a"', 'mariadb -e "insert into kept.rows values ({})"'
    with form(rack, adapt((SITES / "galera.toml").read_text()), tmp_path) as formed:
        one, two, three = formed.names

        def write() -> int:
            return formed.witness.tell("crm_resource --resource database_server --locate").count("Promoted")

        rack.wait(lambda: write() == len(formed.names), "three nodes that write")
        # What pacemaker promoted may still be taking in what the others have: it refuses everything meanwhile.
        rack.wait(lambda: rack[one].run(f'mariadb -e "{rows}"', check=False).returncode == 0, "first row")
        rack.wait(lambda: all(rack[name].tell(read).split() == ["42"] for name in (two, three)), "row on all nodes")
        formed.lose(one)
        rack.wait(lambda: rack[two].run(add.format(43), check=False).returncode == 0, "a row after the power cut")
        rack.wait(lambda: rack[three].tell(read).split() == ["42", "43"], "row on the other node")
        formed.boot(one)
        formed.start(one)
        rack.wait(lambda: write() == len(formed.names), "the node that came back as one that writes")
        rack.wait(lambda: rack[one].tell(read).split() == ["42", "43"], "what it missed, on the node that came back")
