"""Properties of the installed stack."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

from debian.deb822 import Deb822

from tests.system.acceptance.conftest import CHECKOUT, SITE, SITE_PACKAGE, Node, Stack, make_node, succeed

PREFIX = "/opt/ha"
PRIVATE_LIBRARY = re.compile(
    r"lib(qb|knet|cpg|cfg|cmap|quorum|votequorum|sam|corosync_common|cib|crm\w*|stonithd?|pe_\w+|pacemaker|lrmd|dlm\w*"
    r"|plumb\w*|pils)\.so"
)
DISTRIBUTION = re.compile(
    r"(libqb(\d|-dev)|libknet|libnozzle|corosync|lib(corosync|cfg|cmap|cpg|quorum|votequorum|sam)\b|pacemaker|libcrm|libcib"
    r"|cluster-glue|libstonith|libplumb|libpils|libdlm|dlm-|crmsh|resource-agents|fence-agents|booth|drbd-|gfs2-)"
)
"""Packages of the distribution that this stack stands in for."""


def test_every_recipe_is_built_that_is_not_optional(stack: Stack) -> None:
    tables = [tomllib.loads(file.read_text()) for file in (CHECKOUT / "recipes").glob("*/recipe.toml")]
    recipes = {table["source"] for table in tables if "optional" not in table}
    finished = {outcome["source"] for outcome in stack.outcomes if outcome["outcome"] in ("built", "reused")}
    (module,) = finished - {*recipes, SITE_PACKAGE}  # of the suite's own kernel
    assert module.startswith("ha-drbd-modules-")
    assert finished == {*recipes, SITE_PACKAGE, module}


def test_lintian_finds_no_error(stack: Stack) -> None:
    for outcome in stack.outcomes:
        report = Path(outcome["log"]).with_name("lintian.txt").read_text()
        assert [line for line in report.splitlines() if line.startswith("E:")] == []


def test_what_others_need_is_planned_before_them(stack: Stack) -> None:
    # not in the order of outcomes: lintian may still look at a source while what was built on it is finished
    plan = json.loads(succeed("plan", "--suite", stack.suite, "--site", str(SITE), "--json"))
    order = [step["source"] for step in plan]
    chain = ("ha-libqb", "ha-kronosnet", "ha-corosync", "ha-pacemaker")
    before = [*pairwise(chain), ("ha-cluster-glue", "ha-pacemaker"), ("ha-resource-agents", "ha-pacemaker")]
    before += [("ha-pacemaker", "ha-dlm"), *((name, "ha-stack") for name in order if not name.startswith("ha-stack"))]
    assert [pair for pair in before if order.index(pair[0]) > order.index(pair[1])] == []


def test_no_configure_met_a_switch_it_does_not_know(stack: Stack) -> None:
    for outcome in stack.outcomes:
        log = Path(outcome["log"]).read_text("utf-8", "replace")
        assert re.findall(r"^ *configure: WARNING: unrecognized options.*", log, re.MULTILINE) == []


def test_every_build_was_free_of_the_distributions_stack(stack: Stack) -> None:
    for outcome in stack.outcomes:
        (file,) = Path(outcome["log"]).parent.glob("*.buildinfo")
        with file.open() as lines:
            installed = Deb822(lines).get_as_string("Installed-Build-Depends")
        names = [line.split()[0] for line in installed.splitlines() if line.strip()]
        assert len(names) > 100
        assert [name for name in names if DISTRIBUTION.match(name)] == [], file


def test_it_installs_from_file_with_signatures_checked(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, None) as node:
        update = node.run("apt-get update 2>&1").stdout
        assert "W:" not in update
        node.run("apt-get install -y ha-stack")
        assert node.run(f"{PREFIX}/sbin/corosync -v").stdout.startswith("Corosync Cluster Engine, version '3.")


def test_a_tampered_repository_is_refused(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, None) as node:
        release = node.root / "srv/apt/dists" / stack.suite / "InRelease"
        release.write_text(release.read_text().replace("Origin: hapkg", "Origin: other"))
        assert node.run("apt-get update", check=False).returncode != 0


def test_every_elf_file_has_the_runpath(node: Node) -> None:
    files = node.elf_files()
    assert len(files) > 15
    for file in files:
        dynamic = subprocess.run(["readelf", "-dW", str(file)], capture_output=True, text=True, check=True).stdout
        if "(NEEDED)" in dynamic:
            assert f"(RUNPATH)            Library runpath: [{PREFIX}/lib]" in dynamic, f"{file}\n{dynamic}"


def test_every_library_of_the_stack_comes_from_the_prefix(node: Node) -> None:
    paths = [f"/{file.relative_to(node.root)}" for file in node.elf_files()]
    output = node.run("ldd " + " ".join(paths)).stdout
    assert "not found" not in output
    private = {
        line.split()[0]: line.split()[2].rsplit("/", 1)[0]
        for line in output.splitlines()
        if PRIVATE_LIBRARY.match(line.strip())
    }
    assert {"libqb.so.100", "libknet.so.1", "libcorosync_common.so.4"} <= private.keys()
    assert set(private.values()) == {f"{PREFIX}/lib"}


def test_no_loader_configuration_names_the_prefix(node: Node) -> None:
    assert node.run(f"grep -r {PREFIX} /etc/ld.so.conf /etc/ld.so.conf.d", check=False).stdout == ""


def test_no_distribution_package_of_the_stack_comes_with_it(node: Node) -> None:
    names = node.run("dpkg-query -W -f '${Package}\\n'").stdout.split()
    assert [name for name in names if DISTRIBUTION.match(name)] == []


def test_nothing_lies_outside_declared_places(node: Node) -> None:
    installed = "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' 'ha-*' | sed -n 's/^ii *//p'"
    listing = node.run(f"{installed} | xargs dpkg -L").stdout.split()
    files = {path for path in listing if not (node.root / path[1:]).is_dir()}
    places = (
        "/opt/ha/",
        "/usr/share/doc/ha-",
        "/usr/share/lintian/overrides/ha-",
        "/etc/init.d/",
        "/usr/lib/modprobe.d/ha-",
        "/usr/lib/udev/rules.d/",
    )
    site = {
        "/etc/apt/apt.conf.d/52ha-stack",
        "/etc/apt/preferences.d/ha-stack",
        "/etc/bash_completion.d/ha-stack",
        "/usr/share/zsh/vendor-completions/_ha-stack",
        "/etc/logrotate.d/ha-stack",
        "/etc/needrestart/conf.d/ha-stack.conf",
        "/etc/profile.d/ha-stack.sh",
        "/etc/rsyslog.d/ha-stack.conf",
        "/etc/ssh/sshd_config.d/90-ha-stack.conf",
        "/etc/ufw/applications.d/ha-stack",
        "/usr/lib/firewalld/services/ha-stack.xml",
        "/usr/share/bash-completion/completions/ha-stack",
    }
    more = ("/lib/systemd/system/", "/usr/lib/systemd/system/", "/usr/lib/sysusers.d/ha-", "/usr/lib/tmpfiles.d/ha-")
    assert sorted(path for path in files - site if not path.startswith(places + more)) == []
    assert [path for path in files if path.endswith(".la") or "__pycache__" in path] == []


def test_users_exist_and_nothing_runs_after_a_fresh_install(node: Node) -> None:
    assert node.run("id -un hacluster; id -gn hacluster").stdout.split() == ["hacluster", "haclient"]
    assert not (node.root / "opt/ha/etc/corosync/corosync.conf").exists()
    assert node.run("service corosync start", check=False).returncode == 6
    assert not list((node.root / "etc/systemd/system").rglob("corosync.service"))


def test_the_example_configuration_is_valid_and_corosync_runs_with_it(node: Node) -> None:
    folder = f"{PREFIX}/etc/corosync"
    started = node.run(
        f"""set -e
        cp {folder}/corosync.conf.example {folder}/corosync.conf
        trap 'rm -f {folder}/corosync.conf {folder}/authkey' EXIT
        {PREFIX}/sbin/corosync-keygen -l -k {folder}/authkey >/dev/null
        stat -c %a {folder}/authkey
        {PREFIX}/sbin/corosync -t -c {folder}/corosync.conf
        service corosync start
        {PREFIX}/sbin/corosync-cmapctl -g totem.cluster_name
        {PREFIX}/sbin/corosync-cfgtool -s
        {PREFIX}/sbin/corosync-quorumtool -s || true
        service corosync stop
        service corosync status || echo "stopped"
        """,
        address="192.168.132.11",
        hostname="fiesta-ha1",
    ).stdout
    assert started.startswith("400\n")
    assert "totem.cluster_name (str) = fiestaha" in started
    assert "192.168.132.11" in started
    assert re.search(r"Flags:\s+2Node WaitForAll", started)
    assert started.rstrip().endswith("stopped")


def test_removal_leaves_nothing_but_declared_state(bare_node: Path, stack: Stack) -> None:
    with make_node(bare_node, stack, stack.url) as node:
        node.run("apt-get update && apt-get install -y ha-stack")
        node.run("/opt/ha/sbin/crm help && /opt/ha/sbin/fence_dummy -o metadata && /opt/ha/sbin/ha-stack --help")
        assert list((node.root / "opt/ha/lib/python3").rglob("*.pyc"))  # by root: byte code is written
        node.run("apt-get purge -y 'ha-*'")
        left = [str(path.relative_to(node.root)) for path in (node.root / "opt/ha").rglob("*") if not path.is_dir()]
        assert left == ["opt/ha/var/log/crmsh/crmsh.log"]  # what crm said
        assert node.run("systemctl list-unit-files 'corosync*' 2>/dev/null | grep corosync", check=False).stdout == ""
