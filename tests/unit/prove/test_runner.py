"""A proof's judgement of what it sees: acknowledged writes, states of DRBD, records, the report."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapkg.errors import MachineError, ProofError, UsageError
from hapkg.prove import scenario
from hapkg.prove.administration import insert_volume
from hapkg.prove.host_service import GuestService
from hapkg.prove.probes import parse_drbd
from hapkg.prove.report import describe_proof, write_report
from hapkg.prove.runner import Check, ProofStep, Scene, StepEnding, StepResult, run_steps, shorten
from hapkg.prove.stops import is_in_order
from hapkg.prove.testbed import find_module, find_older
from hapkg.prove.vm import Guest
from hapkg.prove.volume_groups import COMMANDS, GROUP
from hapkg.prove.workload import Ack, find_damage, find_longest_gap, find_lost, parse_acks
from hapkg.repository.indexes import IndexedPackage, Pool
from hapkg.site.files import describe_site
from hapkg.site.model import read_site
from tests.support.samples import CHECKOUT
from tests.unit.site.samples import render_text

PROC_DRBD = """version: 8.4.11 (api:1/proto:86-101)
srcversion: 1234

 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:0 nr:0 dw:0
 1: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
\t[=>..................] sync'ed: 12.5%
10: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C r-----
"""


def test_the_state_of_drbd_is_read() -> None:
    assert parse_drbd(PROC_DRBD) == (
        ("Connected", "Primary/Secondary", "UpToDate/UpToDate"),
        ("SyncSource", "Primary/Secondary", "UpToDate/Inconsistent"),
        ("WFConnection", "Primary/Unknown", "UpToDate/DUnknown"),
    )


def test_acknowledged_records_are_found_or_missed() -> None:
    acks = parse_acks("a 1 100 /f\na 2 200 /f\nb 1 150 /f\na 3 9000 /f\na 4 99")
    assert [ack.number for ack in acks] == [1, 2, 1, 3]
    assert find_lost(acks, "a 1\nb 1\na 2\na 3\na 4\n") == ()
    assert [(ack.node, ack.number) for ack in find_lost(acks, "a 1\nb 1\na 3\n")] == [("a", 2)]
    assert find_longest_gap(ack for ack in acks if ack.node == "a") == 8.8
    assert find_longest_gap(()) == 0


def test_damage_is_seen() -> None:
    assert find_damage("a 1\nb 1\na 2\n") == ()
    assert find_damage("a 1\n\0\0\na 1\nb 2a 3\n") == ("\0\0", "a 1", "b 2a 3")


@given(st.integers(0, 60), st.integers(0, 200))
def test_a_writers_story_cut_anywhere_tells_no_record_that_was_not_whole(records: int, cut: int) -> None:
    text = "".join(f"node {n} {n * 10} /f\n" for n in range(records))[:cut]
    acks = parse_acks(text)
    assert [ack.number for ack in acks] == list(range(len(acks)))
    assert find_lost(acks, "".join(f"node {n}\n" for n in range(text.count("\n")))) == ()


def test_long_evidence_keeps_both_ends() -> None:
    text = shorten("\n".join(str(n) for n in range(1000)))
    assert text.startswith("0\n1\n")
    assert text.endswith("998\n999")
    assert "… 960 lines …" in text


def make_scene(folder: Path) -> Scene:
    """A scene whose machines nobody asks."""
    site = read_site(CHECKOUT / "hapkg/data/prove.site.toml")
    none = cast("tuple[Guest, Guest]", ())
    service = GuestService(folder / "service", folder)
    return Scene(site=site, suite="bookworm", guests=none, service=service, folder=folder, sources="")


def work(scene: Scene) -> None:
    scene.check("it works", True, "yes")
    scene.facts["failover"] = 4.2
    scene.facts["failover (hang)"] = 5.1


def fail(scene: Scene) -> None:
    scene.check("<b>it works</b>", False, "no & never")


def test_a_failed_check_ends_the_proof_and_stands_in_the_report(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    steps = [
        ProofStep(name="first", title="First", act=work),
        ProofStep(name="second", title="Second", act=fail),
        ProofStep(name="third", title="Third", act=work),
    ]
    records = list({id(record): record for record in run_steps(steps, scene)}.values())
    assert [record.ending for record in records] == [StepEnding.PASSED, StepEnding.FAILED, StepEnding.NOT_REACHED]
    proof = describe_proof(records, scene.facts, suite="bookworm", began="now", accelerator="tcg", short=True)
    assert proof["passed"] is False
    assert proof["failed"] == "Second: not so: <b>it works</b>"
    html, data = write_report(tmp_path, proof)
    assert json.loads(data.read_text()) == proof
    page = html.read_text()
    assert "&lt;b&gt;it works&lt;/b&gt;" in page
    assert "<b>it works</b>" not in page
    assert "no &amp; never" in page
    assert "writes stood still for</dt><dd>4.2 s" in page
    assert "writes stood still for (hang)</dt><dd>5.1 s" in page
    assert not re.search(r"""(src|href)=["']?https?:""", page)


def test_a_module_is_for_one_kernel() -> None:
    modules = ("ha-drbd-modules-6.1.0-1-amd64", "ha-drbd-modules-6.1.0-10-amd64")
    assert find_module(modules, "6.1.0-10-amd64") == modules[1]
    assert find_module(modules, "6.1.0-0-amd64") == ""


def test_what_is_no_failure_of_the_stack_ends_everything(tmp_path: Path) -> None:
    def lack(scene: Scene) -> None:
        raise MachineError("no program")

    with pytest.raises(MachineError):
        list(run_steps([ProofStep(name="a", title="A", act=lack)], make_scene(tmp_path)))


def test_a_proof_without_a_failure_passed() -> None:
    record = StepResult(name="a", title="A", ending=StepEnding.PASSED, checks=[Check(claim="c", ok=True, evidence="e")])
    proof = describe_proof([record], {}, suite="x", began="now", accelerator="kvm", short=False)
    assert proof["passed"] is True
    assert proof["failed"] is None


def test_waiting_ends_with_the_last_look(tmp_path: Path) -> None:
    scene = make_scene(tmp_path)
    with pytest.raises(ProofError, match="not so: the moon is blue within 0 s") as caught:
        scene.wait("the moon is blue", lambda: (False, "grey"), seconds=0, pause=0)
    assert caught.value.details == ("grey",)


def test_steps_have_names_of_their_own_and_the_site_is_the_tutorials_with_a_switch() -> None:
    names = [step.name for step in scenario.STEPS]
    assert len(names) == len(set(names))
    site = read_site(CHECKOUT / "hapkg/data/prove.site.toml")
    example = read_site(CHECKOUT / "docs/site.example.toml")
    assert describe_site(site)["nodes"] == describe_site(example)["nodes"]
    assert {device.agent for device in site.fencing.devices} == {"fence_prove"}


def test_an_ack_is_told_by_node_number_time_and_path() -> None:
    assert parse_acks("n 7 12 /mnt/x\n") == (Ack(node="n", number=7, milliseconds=12, path="/mnt/x"),)


def test_a_shared_volume_group_is_run_as_the_site_key_writes_it(tmp_path: Path) -> None:
    text = (CHECKOUT / "hapkg/data/prove.site.toml").read_text()
    plain = render_text(tmp_path, text)["ha-stack/cluster.crm"].splitlines()
    more = render_text(tmp_path, f'{text}[lvm]\nshared = ["{GROUP}"]\n')["ha-stack/cluster.crm"].splitlines()
    added = [line[2:] for line in difflib.ndiff(plain, more) if line.startswith("+ ")]
    assert added == COMMANDS.splitlines()


JOURNAL = """[1.0] n systemd[1]: Stopping pacemaker.service - Pacemaker cluster resource manager...
[2.0] n systemd[1]: Stopped pacemaker.service - Pacemaker cluster resource manager.
[3.0] n systemd[1]: Stopping corosync.service - Corosync cluster engine...
[4.0] n systemd[1]: Stopped corosync.service - Corosync cluster engine.
"""


def test_a_shutdown_is_in_order_when_corosync_waits_for_pacemaker() -> None:
    lines = JOURNAL.splitlines(keepends=True)
    assert is_in_order(JOURNAL)
    assert not is_in_order("".join((lines[0], lines[2], lines[1], lines[3])))
    assert not is_in_order("".join(lines[:3]))


RESOURCE = """resource ha0 {
        volume 0 {
                device    /dev/drbd0;
        }
        on fiesta-ha1 {
                address   192.168.132.11:7789;
        }
        on fiesta-ha2 {
        }
}
"""


def test_a_volume_is_written_before_the_hosts_and_once() -> None:
    text = insert_volume(RESOURCE, r"volume 2 { device /dev/drbd2; }")
    assert text.count("volume 2") == 1
    assert text.index("volume 0") < text.index("volume 2 { device /dev/drbd2; }\n        on fiesta-ha1 {")
    assert text.replace("        volume 2 { device /dev/drbd2; }\n", "") == RESOURCE


def make_stack(*versions: str) -> Pool:
    fields = {"Package": "ha-stack", "Architecture": "all", "Filename": "x"}
    return Pool(
        packages=tuple(
            IndexedPackage(fields={**fields, "Version": version, "Depends": f"ha-libqb (= {version}), python3 (>= 3)"})
            for version in versions
        )
    )


def test_an_upgrade_starts_from_the_version_before_the_newest() -> None:
    assert find_older(make_stack("1.2.0+ha12.9", "1.2.0+ha12.10", "1.2.0+ha12.2")) == {
        "ha-stack": "1.2.0+ha12.9",
        "ha-libqb": "1.2.0+ha12.9",
    }


def test_there_is_no_upgrade_from_one_version_or_from_before_the_command() -> None:
    assert find_older(make_stack("1.2.0+ha12.1")) == {}
    assert find_older(make_stack("1.2.0+ha12.1", "1.1.0+ha12.4")) == {}


def test_the_short_form_is_a_part_of_the_whole() -> None:
    everything = scenario.choose_steps(short=False, upgrade=True)
    short = scenario.choose_steps(short=True, upgrade=True)
    assert everything == scenario.STEPS
    assert [step for step in everything if step in short] == list(short)
    assert {"power", "return", "bootstrap"} <= {step.name for step in short}
    assert "upgrade" not in {step.name for step in scenario.choose_steps(short=False, upgrade=False)}


def test_a_step_alone_is_done_on_a_cluster_that_was_formed() -> None:
    formed = ["boot", "install", "keygen", "start", "drbd", "mkfs", "bootstrap"]
    for names, more in ((["lvm"], ["lvm"]), (["clock", "return"], ["power", "return", "clock"]), (["boot"], [])):
        steps = scenario.choose_steps(short=False, upgrade=False, names=names)
        assert [step.name for step in steps] == [*formed, *more]


@pytest.mark.parametrize(
    ("name", "words"), [("lwm", "did you mean lvm?"), ("xyzzy", "steps: boot, "), ("upgrade", "two versions")]
)
def test_a_step_that_cannot_be_done_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        scenario.choose_steps(short=False, upgrade=False, names=[name])
    assert words in f"{caught.value.brief} {caught.value.hint}"
