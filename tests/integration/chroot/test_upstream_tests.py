"""Upstream's tests: beside what is built on the source already, and before anything of it is stored."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hapkg.chroot.base import ARCHIVES
from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import Miniature, make_plain_source

TELL = "id -un; env | LC_ALL=C sort | sed -n 's/^\\(DEB\\|DH\\|CFLAGS\\|PREFIX\\)/told: \\1/p'"


@pytest.fixture
def open_gate(hapkg: Hapkg) -> Iterator[Callable[[str], None]]:
    """Opens the gate of tests that wait for this name."""
    opened: list[Path] = []

    def open_one(name: str) -> None:
        opened.append(hapkg.cache / "archives" / SUITE / f"go-{name}")
        opened[-1].touch()

    yield open_one
    for gate in opened:
        gate.unlink()


def add(project: Miniature, name: str, *needs: str, gate: bool = False, end: str = "true") -> None:
    """A source whose tests end with a command, and may wait before it until they are let go on."""
    wait = f"until [ -e {ARCHIVES}/go-{name} ]; do sleep 0.1; done" if gate else "true"
    project.add(name, make_plain_source(check=[TELL, wait, end]), build_depends=list(needs))


def list_stored(hapkg: Hapkg, *names: str) -> list[str]:
    """The packages of these sources that are in the store."""
    return sorted(deb.name.split("_")[0] for name in names for deb in (hapkg.cache / "builds").rglob(f"{name}_*.deb"))


def test_packages_are_used_while_their_tests_run_and_stored_when_these_have_passed(
    hapkg: Hapkg, project: Miniature, open_gate: Callable[[str], None]
) -> None:
    add(project, "tested-below", gate=True)
    add(project, "tested-above", "ha-tested-below")
    running = hapkg.on(project.root).start("build-all", "--json")
    running.wait_for("^ha-tested-above: lint\n(.*\n)*ha-tested-above: wait$")
    assert list_stored(hapkg, "ha-tested-below", "ha-tested-above") == []
    open_gate("tested-below")
    done = running.finish()
    assert done.endings == {"ha-tested-below": "built", "ha-tested-above": "built"}
    assert list_stored(hapkg, "ha-tested-below", "ha-tested-above") == ["ha-tested-above", "ha-tested-below"]
    log = (hapkg.folder(done.outcomes["ha-tested-below"]) / "build.log").read_text()
    built, _, tested = log.partition("\n=== test\n")
    assert "told: " not in built
    told = dict(line.removeprefix("told: ").split("=", 1) for line in tested.splitlines() if line.startswith("told: "))
    assert "nocheck" not in told["DEB_BUILD_OPTIONS"].split()
    assert told["DH_INTERNAL_OVERRIDE"] == "dh_auto_test", "dh runs them as it does in a build"
    assert told["PREFIX"] == "/opt/ha"
    assert told["CFLAGS"]
    assert re.search("^hapkg$", tested, re.MULTILINE), "the build user runs them"
    for step in ("dh_auto_configure", "dh_auto_build", "dh_auto_install"):
        assert step in built
        assert step not in tested
    critical = hapkg.succeed("times").stdout.partition("critical path: ")[2].splitlines()[0]
    assert critical.split(" -> ")[-1] == "ha-tested-below" or "ha-tested-above" in critical


def test_a_failing_test_takes_back_what_was_built_on_the_source(
    hapkg: Hapkg, project: Miniature, open_gate: Callable[[str], None]
) -> None:
    program = hapkg.on(project.root)
    add(project, "wrong-below", gate=True, end="false")
    add(project, "wrong-above", "ha-wrong-below")
    add(project, "wrong-top", "ha-wrong-above", gate=True)
    add(project, "right")
    names = ("ha-wrong-below", "ha-wrong-above", "ha-wrong-top")
    running = program.start("build-all", "--keep-going", "--no-lintian", "--json")
    running.wait_for("^ha-wrong-top: test$")
    open_gate("wrong-below")
    done = running.finish()  # the tests of ha-wrong-top are ended: they would not end by themselves
    assert done.status == 10
    assert done.endings == {
        "ha-wrong-below": "failed",
        "ha-wrong-above": "skipped",
        "ha-wrong-top": "skipped",
        "ha-right": "built",
    }
    assert {done.outcomes[name]["reason"] for name in names[1:]} == {"needs ha-wrong-below, which failed"}
    assert done.outcomes["ha-wrong-below"]["fault"] == "recipe"
    assert done.complaint.brief == "ha-wrong-below fails in phase test with exit status 2"
    assert list_stored(hapkg, *names) == []
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    again = program.run("build-all", "--keep-going", "--no-lintian", "--json")
    assert again.endings == {**done.endings, "ha-right": "reused"}
    assert again.complaint.brief == f"{done.complaint.brief}, as before with the same inputs"
    add(project, "wrong-below")
    open_gate("wrong-top")
    assert set(program.succeed("build-all", "--no-lintian", "--json").endings.values()) == {"built", "reused"}


def test_a_kill_while_tests_run_leaves_nothing_stored(
    hapkg: Hapkg, project: Miniature, open_gate: Callable[[str], None]
) -> None:
    program = hapkg.on(project.root)
    add(project, "killed-below", gate=True)
    add(project, "killed-above", "ha-killed-below")
    running = program.start("build-all", "--no-lintian")
    running.wait_for("^ha-killed-above: test\n(.*\n)*ha-killed-above: wait$")
    assert running.stop(signal.SIGKILL).status == -signal.SIGKILL
    assert list_stored(hapkg, "ha-killed-below", "ha-killed-above") == []
    open_gate("killed-below")
    done = program.succeed("build-all", "--no-lintian", "--json")
    assert done.endings == {"ha-killed-below": "built", "ha-killed-above": "built"}
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_without_tests_a_build_does_not_run_them(hapkg: Hapkg, project: Miniature) -> None:
    add(project, "untested", end="false")
    done = hapkg.on(project.root).succeed("build-all", "--no-tests", "--no-lintian", "--json")
    assert "told: " not in (hapkg.folder(done.outcomes["ha-untested"]) / "build.log").read_text()
    done = hapkg.on(project.root).run("build-all", "--no-lintian", "--json")
    assert done.endings == {"ha-untested": "failed"}
