"""A site file before the programs of the built stack: the example passes, and what they refuse is found."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.samples import format_toml
from tests.system.acceptance.conftest import CHECKOUT, SITE_PACKAGE, SUITE, Stack, run_hapkg
from tests.unit.site.test_files import KINDS, read_verdict

EXAMPLE = CHECKOUT / "docs/site.example.toml"


def check(file: Path) -> tuple[int, dict[str, bool], str]:
    """hapkg site check: its exit code, what each program says, and its errors."""
    done = run_hapkg("site", "check", file, "--suite", SUITE, "--json")
    return done.returncode, {f["check"]: f["ok"] for f in json.loads(done.stdout)["checks"]}, done.stderr


@pytest.mark.usefixtures("stack")
def test_the_example_is_a_cluster_to_all_programs() -> None:
    code, checks, errors = check(EXAMPLE)
    assert code == 0, errors
    asked = ("corosync, as fiesta-ha1", "drbdadm, as fiesta-ha2", "handlers of drbd", "crm and crm_verify")
    assert set(asked) <= checks.keys()
    assert all(checks.values())


@pytest.mark.usefixtures("stack")
def test_what_only_the_programs_know_is_found(tmp_path: Path) -> None:
    table: dict[str, Any] = tomllib.loads(EXAMPLE.read_text())
    table["cluster"]["token"] = 101
    table["drbd"][0]["net"]["sndbuf-size"] = "lots"
    table["crm"] = {"extra": "primitive web ocf:heartbeat:NoSuchAgent"}
    table["fencing"]["devices"][0]["agent"] = "fence_xvm"
    file = tmp_path / "site.toml"
    file.write_text("".join(f"{key} = {format_toml(value)}\n" for key, value in table.items()))
    code, checks, errors = check(file)
    assert code == 14
    refused = {name for name, ok in checks.items() if not ok}
    for program, words in (
        ("corosync", "token"),
        ("drbdadm", "lots"),
        ("agents", "web: there is no agent ocf:heartbeat:NoSuchAgent (line "),
        ("agents", "there is no agent stonith:fence_xvm (line "),
    ):
        assert any(name.startswith(program) for name in refused)
        assert words in " ".join(errors.split())


BROKEN = """
[cluster]
name = "demo"
[[nodes]]
name = "n1"
id = 1
addresses = ["192.0.2.11"]
"""


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("[crm]\nproperties = { default-resource-stickiness = 100 }\n", "(line 8 of the site file)"),
        ("[crm]\nextra = '''\n# first\nprimitve ip IPaddr2\n'''\n", "(line 10 of the site file)"),
        ("[crm]\nextra = '''\nprimitive ip IPaddr2\n'''\n", "(line 9 of the site file)"),
    ],
    ids=["property", "command", "parameter"],
)
@pytest.mark.usefixtures("stack")
def test_a_refusal_of_crm_names_the_line_and_has_no_colours(tmp_path: Path, lines: str, words: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text(BROKEN.lstrip() + lines)
    code, checks, errors = check(file)
    assert (code, checks["crm and crm_verify"]) == (14, False)
    assert words in " ".join(errors.split())
    assert "\x1b" not in errors


CONF = """totem {
  version: 2
  cluster_name: demo
  transport: knet
}
nodelist {
  node {
    name: n1
    nodeid: 1
    ring0_addr: 192.0.2.11
  }
}
quorum {
  provider: corosync_votequorum
}
"""
CIB = """<cib validate-with="pacemaker-3.0" epoch="4" num_updates="0" admin_epoch="0"><configuration>
<crm_config><cluster_property_set id="cib-bootstrap-options">
<nvpair id="a" name="no-quorum-policy" value="stop"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="n1"><instance_attributes id="i"><nvpair id="r" name="rack" value="a"/></instance_attributes>
</node></nodes>
<resources>
<primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="p">
<nvpair id="p1" name="ip" value="192.0.2.100"/></instance_attributes>
<operations><op id="o" name="monitor" interval="10s"/></operations></primitive>
<primitive id="again" class="ocf" provider="pacemaker" type="Dummy">
<operations><op id="o2" name="monitor" interval="10s"/></operations></primitive>
</resources>
<constraints><rsc_colocation id="near" score="INFINITY" rsc="again" with-rsc="ip"/></constraints>
</configuration><status/></cib>
"""
NESTED = "".join(f'<!ENTITY {new} "{f"&{old};" * 64}">' for old, new in ("ab", "bc", "cd", "de", "ef"))
BOMB = f"""<!DOCTYPE cib [<!ENTITY a "{"x" * 64}">{NESTED}]>
<cib validate-with="pacemaker-3.0"><configuration><crm_config><x v="&f;"/></crm_config></configuration></cib>
"""


def import_cib(folder: Path, xml: str) -> subprocess.CompletedProcess[str]:
    (folder / "corosync.conf").write_text(CONF)
    (folder / "cib.xml").write_text(xml)
    files = ("--corosync", folder / "corosync.conf", "--cib", folder / "cib.xml")
    return run_hapkg("site", "import", *files, "--suite", SUITE)


@pytest.mark.usefixtures("stack")
def test_the_cib_of_a_cluster_becomes_a_site_file(tmp_path: Path) -> None:
    done = import_cib(tmp_path, CIB)
    assert done.returncode == 0, done.stderr
    table = tomllib.loads(done.stdout)
    assert table["nodes"][0]["attributes"] == {"rack": "a"}
    assert table["crm"]["properties"] == {"no-quorum-policy": "stop"}
    lines = table["crm"]["extra"].splitlines()
    assert "primitive ip IPaddr2 params ip=192.0.2.100 op monitor interval=10s" in lines
    assert "primitive again ocf:pacemaker:Dummy op monitor interval=10s" in lines
    assert "colocation near inf: again ip" in lines
    assert not [line for line in done.stderr.splitlines() if "crm: " in line], "the rendered one means the same"


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("xml", ["", "<cib>", "<html/>", CIB.replace("near", "ip"), BOMB], ids=range(5))
def test_what_is_no_cib_is_refused(tmp_path: Path, xml: str) -> None:
    done = import_cib(tmp_path, xml)
    assert done.returncode == 14, done.stdout
    assert "the CIB is none that crm understands" in done.stderr
    assert "Traceback" not in done.stderr


REAL = [
    *sorted((CHECKOUT / "docs/sites").glob("*.toml")),
    *(file for file in KINDS if read_verdict(file) == "accepted"),
]


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("file", REAL, ids=lambda file: file.stem)
def test_clusters_that_people_run_are_right_to_all_programs(file: Path) -> None:
    done = run_hapkg("site", "check", file, "--suite", SUITE, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    foreign = ("systemd:", "ocf:acme:", "lsb:")
    named = [word for word in foreign if word in file.read_text()]
    warned = [
        word
        for word in named
        if any(f"{word}" in line and "cannot be checked here" in line for line in told["warnings"])
    ]
    assert warned == named


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("device", "/dev/vgha/lvdrbd0", "would be mounted from under DRBD: /dev/vgha/lvdrbd0 belongs to volume ha0/0"),
        ("device", "/dev/vgha/meta", "would be mounted from under DRBD: /dev/vgha/meta belongs to volume ha0/2"),
        ("device", "/dev/drbd0", "say volume = RESOURCE/NUMBER instead of device = /dev/drbd0"),
        ("volume", "ha0/3", "there is no volume ha0/3"),
    ],
)
def test_a_file_system_on_the_wrong_device_is_refused_before_anything_runs(
    tmp_path: Path, key: str, value: str, words: str
) -> None:
    table: dict[str, Any] = tomllib.loads(EXAMPLE.read_text())
    table["drbd"][0]["volumes"][2]["meta-disk"] = "/dev/vgha/meta"
    del table["gfs2"][0]["volume"]
    table["gfs2"][0][key] = value
    file = tmp_path / "site.toml"
    file.write_text("".join(f"{name} = {format_toml(part)}\n" for name, part in table.items()))
    done = run_hapkg("site", "check", file)
    assert done.returncode == 14
    assert words in " ".join(done.stderr.split())


def test_the_package_of_a_site_is_built_alone(stack: Stack, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(EXAMPLE.read_text().replace("fiestaha", "otherha"))
    done = run_hapkg("build-all", "--suite", SUITE, "--site", site, "--json")
    assert done.returncode == 0, done.stderr
    endings = {outcome["source"]: outcome["outcome"] for outcome in json.loads(done.stdout)}
    assert endings["ha-stack-site-otherha"] in ("built", "reused")
    del endings["ha-stack-site-otherha"]
    assert set(endings.values()) == {"reused"}
    assert {*endings, SITE_PACKAGE} == {outcome["source"] for outcome in stack.outcomes}
