"""A node right after `apt install ha-stack`, before it is part of any cluster."""

from __future__ import annotations

import json
import re
import tomllib

from tests.system.acceptance.conftest import CHECKOUT, Node

PREFIX = "/opt/ha"
LOGIN = "su --login root --command"
PAGES = (
    "corosync",
    "corosync.conf",
    "corosync-keygen",
    "corosync-quorumtool",
    "crm_mon",
    "crm_resource",
    "dlm_controld",
    "dlm.conf",
    "fence_ipmilan",
    "ha-stack",
    "mkfs.gfs2",
    "pacemakerd",
    "votequorum",
)


def test_nothing_is_started_and_nothing_listens(node: Node) -> None:
    # Looked at where the packages were just put in place: every script on a node has its own processes.
    told = node.run(
        """set -e
        apt-get install -y --reinstall ha-corosync ha-pacemaker ha-dlm ha-drbd-utils ha-stack >/dev/null 2>&1
        readlink /proc/[0-9]*/exe | grep ^/opt/ha || true
        ss --no-header --listening --processes --tcp --udp | grep users: || true
        find /etc/rc?.d -name 'S*corosync' -o -name 'S*pacemaker' -o -name 'S*drbd*'
        find /etc/systemd/system -name 'corosync*' -o -name 'pacemaker*' -o -name 'dlm*' -o -name 'drbd*'
        find /etc/init.d /lib/systemd/system -name '*drbd*' -o -name '*dlm*'
        """
    )
    assert told.stdout == ""
    for service in ("corosync", "pacemaker"):
        unit = node.run(f"cat /lib/systemd/system/{service}.service").stdout
        assert f"ConditionPathExists={PREFIX}/etc/corosync/corosync.conf" in unit
        assert node.run(f"test -x /etc/init.d/{service}").returncode == 0


def test_systemd_finds_nothing_wrong_with_the_units(node: Node) -> None:
    # What it complains of, also in units that ours name; without their files it would only say that they are missing.
    units = "/lib/systemd/system/corosync.service /lib/systemd/system/pacemaker.service"
    done = node.run(f"systemd-analyze verify --man=no {units} 2>&1", check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_accounts_have_numbers_of_the_system(node: Node) -> None:
    user, group = node.run("getent passwd hacluster; getent group haclient").stdout.splitlines()
    assert user.endswith(":/usr/sbin/nologin")
    for line in (user, group):
        assert 100 <= int(line.split(":")[2]) < 1000


def test_state_belongs_to_the_clusters_account(node: Node) -> None:
    folders = " ".join(f"{PREFIX}/var/lib/pacemaker/{name}" for name in ("cib", "pengine", "cores", "blackbox"))
    assert set(node.run(f"stat -c '%U:%G %a' {folders}").stdout.split("\n")) == {"hacluster:haclient 750", ""}
    assert node.run(f"stat -c '%U:%G %a' {PREFIX}/var/log/pacemaker").stdout == "hacluster:haclient 770\n"


def test_the_programs_are_on_every_path(node: Node) -> None:
    assert node.run(f"{LOGIN} 'command -v corosync'").stdout == f"{PREFIX}/sbin/corosync\n"
    assert node.run(f"{LOGIN} 'crm --version'").stdout.startswith("crm 5.")
    assert node.run("sudo crm --version 2>/dev/null").stdout.startswith("crm 5.")
    for service in ("corosync", "pacemaker"):
        for file in (f"/lib/systemd/system/{service}.service", f"/etc/init.d/{service}"):
            assert f"PATH={PREFIX}/sbin:{PREFIX}/bin:" in node.run(f"cat {file}").stdout


def test_man_finds_the_pages(node: Node) -> None:
    names = "dpkg-query -W -f '${Package} '"
    before = set(node.run(names).stdout.split())
    node.run("apt-get install -y man-db")
    try:
        for page in PAGES:
            found = node.run(f"{LOGIN} 'man --where {page}'", check=False).stdout
            assert found.startswith(f"{PREFIX}/share/man/"), page
        assert "COROSYNC" in node.run(f"{LOGIN} 'man --pager=cat corosync'").stdout
    finally:
        more = set(node.run(names).stdout.split()) - before
        node.run(f"apt-get purge -y {' '.join(sorted(more))}")


def test_the_versions_are_held_together(node: Node) -> None:
    depends = node.run("dpkg-query -W -f '${Depends}' ha-stack").stdout
    recipe = tomllib.loads((CHECKOUT / "recipes/stack/recipe.toml").read_text())
    for name in recipe["packages"][0]["stack"]:
        version = node.run(f"dpkg-query -W -f '${{Version}}' {name}").stdout
        assert f"{name} (= {version})" in depends
    policy = node.run("apt-cache policy ha-corosync").stdout
    assert re.search(r"\*\*\* \S+ 990\n", policy)
    assert re.search(r"o=hapkg\b", node.run("apt-cache policy").stdout)


def test_every_file_is_the_repositorys_and_one_that_is_not_is_named(node: Node) -> None:
    verify = f"{PREFIX}/sbin/ha-stack verify"
    lines = [line.split() for line in node.run(verify).stdout.splitlines()]
    assert lines[0] == ["package", "index", "deb", "files"]
    assert {tuple(states) for _, *states in lines[1:]} == {("ok", "ok", "ok")}, lines
    assert {"ha-corosync", "ha-pacemaker", "ha-stack"} <= {name for name, *_ in lines}
    changed, edited = f"{PREFIX}/sbin/corosync", "/etc/init.d/pacemaker"
    sums = "/var/lib/dpkg/info/ha-corosync.md5sums"
    done = node.run(
        f"""cp -p {changed} {edited} {sums} /root; echo >> {changed}; echo >> {edited}
        sed -i "s|.*  {changed[1:]}$|$(md5sum {changed} | cut -c1-32)  {changed[1:]}|" {sums}
        dpkg --verify ha-corosync
        rm -f /var/cache/apt/archives/ha-corosync_*; {verify} --json; status=$?
        cp -p /root/corosync {changed}; cp -p /root/pacemaker {edited}; cp -p /root/ha-corosync.md5sums {sums}
        exit $status""",
        check=False,
    )
    # Nothing comes before it: dpkg, whose own list was changed along, finds no fault.
    found = json.loads(done.stdout)
    told = {one["package"]: one for one in found if one["told"] != [""]}
    assert (done.returncode, set(told)) == (1, {"ha-corosync", "ha-stack"}), done.stdout
    assert told["ha-corosync"]["files"] == "BREAKS"
    assert told["ha-corosync"]["told"][-1] == f"{changed} is not what the package has"
    assert told["ha-stack"]["files"] == "ok"
    assert told["ha-stack"]["told"][-1] == f"{edited} was edited, as configuration may be"


def test_no_package_holds_a_key(node: Node) -> None:
    assert node.run("dpkg --search authkey", check=False).stdout == ""
    assert node.run(f"find {PREFIX} -name authkey").stdout == ""


def test_what_restarts_services_unasked_keeps_off(node: Node) -> None:
    assert '"^ha-"' in node.run("apt-config dump Unattended-Upgrade::Package-Blacklist").stdout
    read = "do q(/etc/needrestart/conf.d/ha-stack.conf); die $@ if $@; "
    kept = "print grep { q(corosync.service) =~ $_ and not $nrconf{override_rc}{$_} } keys %{$nrconf{override_rc}}"
    assert "corosync" in node.run(f"perl -e '{read}{kept}'").stdout


def test_the_log_has_a_file_that_is_rotated(node: Node) -> None:
    assert re.search(
        r"^local7\.\*\s+-?/var/log/corosync\.log", node.run("cat /etc/rsyslog.d/ha-stack.conf").stdout, re.M
    )
    assert "/var/log/corosync.log" in node.run("cat /etc/logrotate.d/ha-stack").stdout
    told = node.run(
        "apt-get install -y logrotate >/dev/null && logrotate --debug /etc/logrotate.d/ha-stack 2>&1"
    ).stdout
    node.run("apt-get purge -y logrotate")
    assert "error" not in told


def test_the_ports_are_named_and_none_is_opened(node: Node) -> None:
    firewalld = node.run("cat /usr/lib/firewalld/services/ha-stack.xml").stdout
    named = set(re.findall(r'protocol="(\w+)" port="([\d-]+)"', firewalld))
    dlm = {("tcp", "21064"), ("sctp", "21064")}
    assert named == {("udp", "5405-5412"), ("tcp", "3121"), ("tcp", "7788-7799"), *dlm}
    ufw = node.run("cat /etc/ufw/applications.d/ha-stack").stdout
    (ports,) = re.findall(r"(?m)^ports=(.*)$", ufw)
    profile = {tuple(reversed(port.replace(":", "-").split("/"))) for port in ports.split("|")}
    assert profile == named - {("sctp", "21064")}, "a profile of ufw has no word for SCTP"
    assert node.run("find /etc/firewalld /etc/ufw -type f 2>/dev/null", check=False).stdout == (
        "/etc/ufw/applications.d/ha-stack\n"
    )
