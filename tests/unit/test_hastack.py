"""The node's command: what it reads, and what it decides from what it read."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import tomllib
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hastack import bootstrap, check, clock, cluster, main, members, network, site, upgrade
from hastack.bootstrap import compare
from hastack.cluster import Member, Resource, State, find_losses, find_objections, has_quorum_without_one, parse_state
from hastack.system import Problem, write_file
from hypothesis import given
from hypothesis import strategies as st

from hapkg.site.files import describe_site
from hapkg.site.model import read_site
from tests.support.samples import CHECKOUT

EXAMPLE = CHECKOUT / "docs/site.example.toml"
QUORUM_OF_TWO = "Total votes:      2\nQuorum:           1  \nFlags:            2Node Quorate WaitForAll \n"
CRM_MON = """(unpack_config) warning: said before
<pacemaker-result api-version="2.38">
  <summary>
    <current_dc present="true" name="one" id="1" with_quorum="true"/>
    <cluster_options stonith-enabled="true" maintenance-mode="false"/>
  </summary>
  <nodes>
    <node name="one" id="1" online="true" standby="false" maintenance="false" pending="false" unclean="false"
      resources_running="2" type="member"/>
    <node name="two" id="2" online="true" standby="true" maintenance="false" pending="false" unclean="false"
      resources_running="0" type="member"/>
    <node name="far" id="far" online="true" type="remote"/>
  </nodes>
  <resources>
    <resource id="web" role="Started" managed="true" failed="false"><node name="one"/></resource>
    <clone id="c"><resource id="s" role="Promoted" managed="true" failed="false"><node name="one"/></resource>
      <resource id="s" role="Stopped" managed="true" failed="false"/></clone>
  </resources>
  <failures><failure op_key="web_monitor_10000" node="one" exitstatus="not running"/></failures>
</pacemaker-result>
"""


def make_member(name: str, **changes: bool | int) -> Member:
    flags = {"online": True, "standby": False, "maintenance": False, "unclean": False, "pending": False, "resources": 0}
    return Member(name=name, **{**flags, **changes})  # type: ignore[arg-type]


def make_state(
    *members: Member, quorate: bool = True, maintenance: bool = False, failures: tuple[str, ...] = ()
) -> State:
    return State("one", quorate, maintenance, True, members, (), failures)


def test_what_crm_mon_tells_is_understood() -> None:
    state = parse_state(CRM_MON)
    assert (state.controller, state.quorate, state.fencing) == ("one", True, True)
    assert [(member.name, member.serves) for member in state.members] == [("one", True), ("two", False)]
    assert state.members[1].describe() == "standby"
    assert cluster.rank_roles(state.resources) == {"web": 2, "s": 3}
    assert state.failures == ("web_monitor_10000 on one: not running",)


@pytest.mark.parametrize("text", ["", "crm_mon: Connection refused", "<pacemaker-result><"])
def test_what_is_no_answer_is_a_problem(text: str) -> None:
    with pytest.raises(Problem, match="not understood"):
        parse_state(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (QUORUM_OF_TWO, True),
        (QUORUM_OF_TWO.replace("Total votes:      2", "Total votes:      1"), False),
        ("Total votes: 3\nQuorum: 2\nFlags: Quorate\n", True),
        ("Total votes: 2\nQuorum: 2\nFlags: Quorate\n", False),
        ("Total votes: 3\nQuorum: 2\nFlags: \n", False),
        ("", False),
        ("Cannot initialize CMAP service\n", False),
        ("Total votes: many\nQuorum: 2\nFlags: Quorate\n", False),
        ("Total votes: 4\nQuorum: 3\nFlags: Quorate\n    Nodeid Votes Name\n     1   2 10.0.0.1 (local)\n", False),
        ("Total votes: 5\nQuorum: 3\nFlags: Quorate\n    Nodeid Votes Name\n     1   2 10.0.0.1 (local)\n", True),
        ("Total votes: 3\nQuorum: 2\nFlags: Quorate Qdevice\n  1  1  A,V,NMW one (local)\n  0  1  Qdevice\n", True),
    ],
)
def test_quorum_without_one(text: str, kept: bool) -> None:
    assert has_quorum_without_one(text) is kept


@given(st.integers(2, 32), st.integers(0, 32))
def test_a_majority_that_stays_is_what_counts(expected: int, present: int) -> None:
    quorum = expected // 2 + 1
    quorate = present >= quorum
    text = f"Total votes: {present}\nQuorum: {quorum}\nFlags: {'Quorate' if quorate else ''}\n"
    assert has_quorum_without_one(text) is (quorate and 2 * (present - 1) > expected)


def test_a_whole_cluster_lets_a_node_go() -> None:
    assert find_objections(make_state(make_member("one"), make_member("two")), "two", QUORUM_OF_TWO, ()) == ()


@pytest.mark.parametrize(
    ("state", "losses", "words"),
    [
        (make_state(make_member("one"), make_member("two"), quorate=False), (), "no quorum"),
        (make_state(make_member("one"), make_member("two"), maintenance=True), (), "maintenance"),
        (make_state(make_member("one", online=False), make_member("two")), (), "one does not serve: OFFLINE"),
        (make_state(make_member("one", standby=True), make_member("two")), (), "one does not serve: standby"),
        (make_state(make_member("one", unclean=True), make_member("two")), (), "unclean"),
        (make_state(make_member("one", pending=True), make_member("two")), (), "pending"),
        (make_state(make_member("one")), (), "does not know this node"),
        (make_state(make_member("one"), make_member("two"), failures=("x on one",)), (), "failed: x on one"),
        (make_state(make_member("one"), make_member("two")), ("web",), "web would run nowhere"),
    ],
)
def test_a_node_that_is_needed_has_to_stay(state: State, losses: tuple[str, ...], words: str) -> None:
    objections = find_objections(state, "two", QUORUM_OF_TWO, losses)
    assert len(objections) == 1
    assert words in objections[0]


def make_resource(name: str, role: str) -> Resource:
    return Resource(name, role, False, True, ())


def test_a_role_that_nobody_has_any_more_is_a_loss() -> None:
    before = [make_resource("s", "Promoted"), make_resource("s", "Unpromoted"), make_resource("web", "Started")]
    assert find_losses(before, [make_resource("s", "Promoted"), make_resource("web", "Started")]) == ()
    assert find_losses(before, [make_resource("s", "Unpromoted"), make_resource("web", "Started")]) == ("s",)
    assert find_losses(before, [make_resource("s", "Promoted"), make_resource("web", "Stopped")]) == ("web",)
    assert find_losses(before, []) == ("s", "web")
    assert find_losses([make_resource("off", "Stopped")], []) == ()


def make_device(name: str, *nodes: str) -> Resource:
    return Resource(name, "Started" if nodes else "Stopped", False, True, nodes, fences=True)


def test_the_device_that_switches_off_the_only_node_left_may_rest() -> None:
    before = [make_device("off-one", "two"), make_resource("web", "Started")]
    assert [resource.id for resource in cluster.select_services(before, 1)] == ["web"]
    assert [resource.id for resource in cluster.select_services(before, 2)] == ["off-one", "web"]


def test_a_node_that_is_being_upgraded_is_waited_for() -> None:
    state = make_state(make_member("one"), make_member("two"))
    assert find_objections(state, "two", QUORUM_OF_TWO, (), ("one",)) == ("node one is being upgraded",)
    assert find_objections(state, "two", QUORUM_OF_TWO, (), ("two",)) == ()


@pytest.mark.parametrize(
    ("on", "wanted", "devices", "level", "words"),
    [
        (True, True, (make_device("off-one", "two"),), "ok", "by off-one"),
        (True, None, (make_device("off-one"),), "warn", "off-one runs nowhere"),
        (True, None, (), "FAIL", "no device"),
        (False, True, (make_device("off-one", "two"),), "FAIL", "off: "),
        (False, False, (), "warn", "off: "),
        (False, None, (), "warn", "off: "),
    ],
)
def test_fencing_is_what_the_site_wants(
    on: bool, wanted: bool | None, devices: tuple[Resource, ...], level: str, words: str
) -> None:
    state = State("one", True, False, on, (), (make_resource("web", "Started"), *devices), ())
    finding = check.judge_fencing(state, wanted=wanted)
    assert (finding.level, words in finding.found) == (level, True)
    assert bool(finding.remedy or finding.advice) == (level != "ok")


@pytest.mark.parametrize(
    ("devices", "remedy"), [((make_device("off-one", "two"),), "crm_attribute"), ((), "ha-stack bootstrap")]
)
def test_fencing_that_is_off_is_loaded_before_it_is_switched_on(devices: tuple[Resource, ...], remedy: str) -> None:
    state = State("one", True, False, False, (), devices, ())
    assert check.judge_fencing(state, wanted=True).remedy.startswith(remedy)


def test_fencing_devices_and_what_is_stuck_are_told_apart() -> None:
    text = CRM_MON.replace('<resource id="web"', '<resource id="web" resource_agent="stonith:fence_x" blocked="true"')
    web, other = parse_state(text).resources[:2]
    assert (web.fences, web.blocked, other.fences, other.blocked) == (True, True, False, False)


MIDNIGHT = 86_400_000


@pytest.mark.parametrize(
    ("sent", "told", "back", "apart"),
    [
        (1000, 1005, 1010, 0.0),
        (1000, 4005, 1010, 3.0),
        (5000, 1005, 5010, -4.0),
        (MIDNIGHT - 10, 5, 10, 0.005),
        (5, MIDNIGHT - 995, 5, -1.0),
        (MIDNIGHT - 1000, 1000, MIDNIGHT - 1000, 2.0),
    ],
)
def test_clocks_are_compared_over_midnight_too(sent: int, told: int, back: int, apart: float) -> None:
    assert clock.measure(sent, told, back) == pytest.approx(apart)


@given(st.integers(0, MIDNIGHT - 1), st.integers(-43_000_000, 43_000_000), st.integers(0, 1000))
def test_any_difference_is_found(sent: int, apart: int, way: int) -> None:
    told = (sent + way // 2 + apart) % MIDNIGHT
    assert clock.measure(sent, told, (sent + way) % MIDNIGHT) == pytest.approx(apart / 1000)


def test_only_an_answer_to_the_question_is_read() -> None:
    question = clock.make_question(77, 12345)
    assert clock.sum_up(question) == 0
    header = bytes([0x45, *([0] * 19)])
    answer = bytes([14, *question[1:12]]) + (54321).to_bytes(4, "big") + question[16:]
    assert clock.read_answer(header + answer, 77) == 54321
    assert clock.read_answer(header + answer, 78) is None
    assert clock.read_answer(header + question, 77) is None
    assert clock.read_answer(header + answer[:12] + b"\xff\0\0\0" + answer[16:], 77) is None
    for rubbish in (b"", b"E", header, header + answer[:19]):
        assert clock.read_answer(rubbish, 77) is None


def make_cib(resources: str, options: str = "") -> str:
    return (
        f"<cib><configuration><crm_config><cluster_property_set id='a'>{options}</cluster_property_set></crm_config>"
        f"<resources>{resources}</resources><constraints/></configuration></cib>"
    )


def test_what_is_added_and_what_is_changed_are_told_apart() -> None:
    old = make_cib("<primitive id='a' type='x'/>", "<nvpair id='i' name='stonith-enabled' value='true'/>")
    assert compare(old, old.replace("'a' type='x'/>", "'a'   type='x' />\n  ")) == ((), ())
    more = make_cib("<primitive id='a' type='x'/><primitive id='b'/>", "<nvpair id='i' name='p' value='1'/>")
    assert compare(make_cib("<primitive id='a' type='x'/>"), more) == (("b", "crm_config p"), ())
    assert compare(old, old.replace("type='x'", "type='y'")) == ((), ("a",))
    assert compare(old, old.replace("value='true'", "value='false'")) == ((), ("crm_config stonith-enabled",))
    assert compare(more, old.replace("stonith-enabled", "p").replace("'true'", "'1'")) == ((), ())


def test_attributes_of_nodes_alerts_and_rights_are_compared() -> None:
    old = "<cib><configuration><nodes><node id='1' uname='n1'/></nodes><alerts/><acls/></configuration></cib>"
    rack = "<instance_attributes id='i'><nvpair id='r' name='rack' value='a'/></instance_attributes>"
    new = old.replace("uname='n1'/>", f"uname='n1'>{rack}</node>")
    new = new.replace("<alerts/>", "<alerts><alert id='mail' path='/x'/></alerts>")
    new = new.replace("<acls/>", "<acls><acl_role id='reader'/></acls>")
    assert compare(old, new) == (("mail", "node n1 rack", "reader"), ())
    assert compare(new, new.replace("value='a'", "value='b'")) == ((), ("node n1 rack",))


def test_a_site_of_hapkg_is_what_a_node_reads() -> None:
    facts = {**describe_site(read_site(EXAMPLE)), "files": {"/opt/ha/etc/x": "5f"}}
    found = site.parse_facts(json.loads(json.dumps(facts)))
    table = tomllib.loads(EXAMPLE.read_text())
    assert [node.name for node in found.nodes] == [node["name"] for node in table["nodes"]]
    assert (found.cluster, found.modules, found.fencing) == ("fiestaha", ("dlm", "gfs2", "drbd"), True)
    with pytest.raises(ValueError, match="different times"):
        site.parse_facts({**facts, "format": 2})


def test_a_configuration_made_by_hand_is_read() -> None:
    text = (CHECKOUT / "recipes/stack/debian/root/corosync.conf.example.j2").read_text()
    found = site.parse_corosync(text)
    assert found.cluster == "fiestaha"
    assert [(n.name, n.id, n.addresses) for n in found.nodes] == [
        ("fiesta-ha1", 1, ("192.168.132.11",)),
        ("fiesta-ha2", 2, ("192.168.132.12",)),
    ]
    assert found.crypto
    assert not site.parse_corosync("totem {\n version: 2\n}\n").crypto


@pytest.mark.parametrize(
    ("machine", "own"), [("one", "one"), ("one.example.org", "one"), ("b.example.org", "b.example.org"), ("c", None)]
)
def test_a_node_knows_itself_by_its_name(machine: str, own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = tuple(site.Node(name, number, ()) for number, name in enumerate(("one", "b", "b.example.org")))
    cluster_of_three = site.Site("x", nodes, crypto=True)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename=machine))
    found = cluster_of_three.find_own()
    assert (found.name if found else None) == own
    assert [node.name for node in cluster_of_three.others] == [node.name for node in nodes if node.name != own]


def test_addresses_and_listeners_are_read() -> None:
    told = '[{"ifname":"lo","addr_info":[{"local":"127.0.0.1"}]},{"addr_info":[{"local":"fd01::1"},{}]}]'
    assert network.parse_addresses(told) == {"127.0.0.1", "fd01::1"}
    assert network.parse_addresses("Cannot open") == frozenset()
    sockets = (
        'UNCONN 0 0 192.168.1.1:5405 0.0.0.0:* users:(("corosync",pid=12,fd=3))\n'
        'LISTEN 0 9 [::]:7789 [::]:* users:(("nc",pid=5,fd=3),("sh",pid=6,fd=3))\nLISTEN 0 9 *:21064 *:*\nrubbish\n'
    )
    assert network.parse_sockets(sockets) == {5405: [("corosync", "12")], 7789: [("nc", "5"), ("sh", "6")], 21064: []}


def test_what_nodes_tell_each_other_is_compared() -> None:
    reports = {"two": "1.2 aa", "three": "1.3 aa", "four": "1.2 bb"}
    nodes = ("two", "three", "four", "five")
    levels = [finding.level for finding in check.compare_reports("1.2 aa", reports, nodes)]
    assert levels == ["ok", "warn", "FAIL", "warn"]


def test_an_upgrades_file_that_is_damaged_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "upgrade.json"
    monkeypatch.setattr(upgrade, "JOURNAL", file)
    assert upgrade.read_journal() is None
    file.write_text('{"step": "st')
    with pytest.raises(Problem, match=r"upgrade\.json cannot be read"):
        upgrade.read_journal()
    file.write_text('{"step": "drain", "was_standby": false, "was_running": true, "before": "1"}')
    journal = upgrade.read_journal()
    assert journal is not None
    assert "before drain" in upgrade.describe(journal)
    file.write_text('{"step": "stop", "was_standby": false, "was_running": true, "before": "1", "of later": 1}')
    assert upgrade.read_journal() == upgrade.Journal("stop", False, True, "1", "")
    for damaged in ('{"step": "dance", "was_standby": false, "was_running": true, "before": "1"}', "[]", "{}"):
        file.write_text(damaged)
        with pytest.raises(Problem, match="cannot be read"):
            upgrade.read_journal()


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An upgrade whose steps only say that they were done."""
    monkeypatch.setattr(upgrade, "STATE", tmp_path)
    monkeypatch.setattr(upgrade, "JOURNAL", tmp_path / "upgrade.json")
    monkeypatch.setattr(upgrade, "LOCK", tmp_path / "upgrade.lock")
    monkeypatch.setattr(upgrade, "list_versions", lambda: {"ha-stack": "2"})
    monkeypatch.setattr(cluster, "is_running", lambda: False)
    done: list[str] = []
    for name in ("stand_by", "drain", "stop", "install", "start", "return"):
        monkeypatch.setattr(upgrade, f"_{name}", lambda journal, name=name: done.append(f"{name} {journal.version}"))
    return done


def write_journal(step: str) -> None:
    upgrade.JOURNAL.write_text(json.dumps(asdict(upgrade.Journal(step, False, True, "1", "1.5"))))


@pytest.mark.parametrize("place", range(len(upgrade.STEPS)))
def test_what_was_interrupted_goes_on_where_it_stopped(steps: list[str], place: int) -> None:
    write_journal(upgrade.STEPS[place])
    upgrade.upgrade_node(dry_run=True, abort=False, version="")
    assert steps == []
    upgrade.upgrade_node(dry_run=False, abort=False, version="")
    names = ("stand_by", "drain", "stop", "install", "start", "return")
    assert steps == [f"{name} 1.5" for name in names[place:]]
    assert not upgrade.JOURNAL.exists()


def test_what_goes_on_is_the_version_that_was_asked_for(steps: list[str]) -> None:
    write_journal("install")
    with pytest.raises(Problem, match=r"is to 1\.5, not to 1\.6"):
        upgrade.upgrade_node(dry_run=False, abort=False, version="1.6")
    assert steps == []
    upgrade.upgrade_node(dry_run=False, abort=False, version="1.5")
    assert steps[0] == "install 1.5"


def test_a_step_that_fails_says_how_to_go_on(steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: upgrade.Journal) -> None:
        raise Problem("no space left")

    write_journal("stop")
    monkeypatch.setattr(upgrade, "_install", fail)
    with pytest.raises(Problem) as caught:
        upgrade.upgrade_node(dry_run=False, abort=False, version="")
    assert "--abort" in caught.value.hint
    journal = upgrade.read_journal()
    assert journal is not None
    assert journal.step == "install"
    assert steps == ["stop 1.5"]


def test_one_upgrade_at_a_time(steps: list[str]) -> None:
    write_journal("stop")
    with upgrade.LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Problem, match="another ha-stack upgrade-node"):
            upgrade.upgrade_node(dry_run=False, abort=False, version="")
    assert steps == []


def test_every_package_that_a_version_pins_is_named_to_apt() -> None:
    stanza = (
        "Package: ha-stack\nVersion: 2\nPre-Depends: ha-stack-guard (= 2)\n"
        "Depends: python3, ha-libqb (= 2.0.8-1+ha12.5), ha-crmsh (= 5.0.0~rc1-1), ha-x (>= 3)\nSuggests: ha-y (= 1)\n"
    )
    pins = ["ha-crmsh=5.0.0~rc1-1", "ha-libqb=2.0.8-1+ha12.5", "ha-stack-guard=2"]
    assert upgrade.find_pins(stanza) == pins
    assert upgrade.find_pins(f"{stanza}\n{stanza}") == pins
    assert upgrade.find_pins("E: No packages found") == []


def test_a_file_is_written_whole_and_with_its_mode(tmp_path: Path) -> None:
    write_file(tmp_path / "new/file", "text\n", 0o600)
    assert (tmp_path / "new/file").read_text() == "text\n"
    assert (tmp_path / "new/file").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["file"]


def test_the_manual_names_every_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    manual = (CHECKOUT / "recipes/stack/debian/share/ha-stack.8").read_text().replace("\\-", "-")
    with pytest.raises(SystemExit):
        main.main(["upgrade-node", "--help"])
    told = capsys.readouterr().out
    for word in ("--to", "--dry-run", "--abort"):
        assert word in told
        assert word in manual
    commands = ("check", "keygen", "bootstrap", "status", "diff", "prepare", "upgrade-node", *members.COMMANDS)
    for word in (*commands, "--force", "--json", "--metrics"):
        assert word in manual


def test_a_module_that_calls_another_drbdadm_is_named(tmp_path: Path) -> None:
    parameter = tmp_path / "usermode_helper"
    assert list(check.judge_helper(parameter)) == []
    parameter.write_text("/sbin/drbdadm\n")
    (finding,) = check.judge_helper(parameter)
    assert finding.found.startswith("drbd calls /sbin/drbdadm, not ")
    subprocess.run(["sh", "-ec", finding.remedy], check=True)
    assert list(check.judge_helper(parameter)) == []


@pytest.mark.parametrize(
    "command", ["check", "status", "diff", "keygen", "bootstrap", "prepare", "upgrade-node", *members.COMMANDS]
)
def test_bash_completes_every_command_and_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main([command, "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    file = CHECKOUT / "recipes/stack/debian/completions/ha-stack"
    ask = f'. {file}; COMP_WORDS=(ha-stack {command} ""); COMP_CWORD=2; _ha_stack; echo "${{COMPREPLY[@]}}"'
    told = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert set(told.split()) == options
    ask = f'. {file}; COMP_WORDS=(ha-stack {command[:3]}); COMP_CWORD=1; _ha_stack; echo "${{COMPREPLY[@]}}"'
    assert subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split() == [command]


def offer_options(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    """A crm_attribute that lists these options of a cluster."""
    monkeypatch.setattr(site, "run", lambda *_: SimpleNamespace(output=names))


def test_properties_have_the_names_that_the_installed_pacemaker_prefers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "property stonith-enabled=true stonith-watchdog-timeout=10s no-quorum-policy=freeze\n"
        "primitive off stonith:fence_x params stonith-timeout=5\n"
        "property fence-reaction=panic stonith-action=off stonith-enabled-by=me\n"
    )
    offer_options(monkeypatch, "  * stonith-enabled=<value>: ...")
    assert site.prefer(text) == text
    offer_options(monkeypatch, "  * fencing-enabled=<value>: ...")
    first, second, third = site.prefer(text).splitlines()
    assert first == "property fencing-enabled=true fencing-watchdog-timeout=10s no-quorum-policy=freeze"
    assert second == "primitive off stonith:fence_x params stonith-timeout=5"
    assert third == "property fence-reaction=panic fencing-action=off stonith-enabled-by=me"


def test_the_remedy_of_fencing_has_the_name_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    off = State("one", True, False, False, (), (make_device("off-one", "two"),), ())
    for name in ("stonith-enabled", "fencing-enabled"):
        offer_options(monkeypatch, name)
        assert f"--name {name} " in check.judge_fencing(off, wanted=True).remedy


def want_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[site.Site, Path]:
    """A site without crypto that wants DRBD's secret, and where that is made."""
    secret = folder / "drbd-secret.conf"
    monkeypatch.setattr(bootstrap, "DRBD_SECRET", secret)
    monkeypatch.setattr(check, "DRBD_SECRET", secret)
    nodes = (site.Node("n1", 1, ("192.0.2.11",)), site.Node("n2", 2, ("192.0.2.12",)))
    wanted = site.Site(cluster="demo", nodes=nodes, crypto=False, drbd_secret=True)
    monkeypatch.setattr(bootstrap, "read_site", lambda: wanted)
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="n1"))
    return wanted, secret


def test_the_secret_of_drbds_peers_is_made_once_and_for_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, secret = want_secret(tmp_path, monkeypatch)
    bootstrap.make_keys()
    assert re.search(r'shared-secret "[0-9a-f]{48}";', secret.read_text())
    assert secret.stat().st_mode & 0o7777 == 0o400
    assert f"scp -p {secret} root@192.0.2.12:{secret}" in capsys.readouterr().out
    before = secret.read_bytes()
    with pytest.raises(Problem, match="exists, and is never replaced"):
        bootstrap.make_keys()
    assert secret.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [secret.name]


def test_a_node_without_the_secret_of_drbd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, secret = want_secret(tmp_path, monkeypatch)
    (found,) = check._check_keys(wanted)
    assert (found.check, found.level, found.found) == ("drbd-secret", "FAIL", f"{secret} is missing")
    bootstrap.make_keys()
    if os.geteuid() == 0:
        assert [found.level for found in check._check_keys(wanted)] == ["ok"]
    secret.chmod(0o644)
    (found,) = check._check_keys(wanted)
    assert "chmod 0400" in found.remedy
