"""The files of a build: packages, symbols, source, changes and buildinfo."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import tarfile
from functools import partial
from pathlib import Path

from hapkg.control import parse_relation_names, read_file_names
from hapkg.deb import read_deb_control
from hapkg.distribution import read_debian
from tests.integration.chroot.conftest import Built
from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers, wait_until

MARK = f"+ha{read_debian().suites[SUITE]}.1"
ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
).stdout.strip()
RUNPATH = re.compile(r"\(RUNPATH\)\s+Library runpath: \[(.*)\]")


def read_content(deb: Path) -> dict[str, bytes]:
    """The files of a binary package, by path."""
    plain = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return {
            member.name.removeprefix("."): file.read()
            for member in archive
            if member.isfile() and (file := archive.extractfile(member))
        }


def read_runpaths(deb: Path, scratch: Path) -> dict[str, list[str]]:
    """The RUNPATH entries of every ELF file of a package."""
    found = {}
    for path, content in read_content(deb).items():
        if content.startswith(b"\x7fELF"):
            file = scratch / "elf"
            file.write_bytes(content)
            dynamic = subprocess.run(["readelf", "-dW", str(file)], capture_output=True, text=True, check=True).stdout
            found[path] = RUNPATH.findall(dynamic)
    return found


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_build_all_builds_every_recipe(built: Built) -> None:
    assert built.run.endings == dict.fromkeys(("ha-one", "ha-two", "ha-three", "ha-stack"), "built")
    ending = f"_2.3-1{MARK}_{ARCHITECTURE}.deb"
    assert built.run.outcomes["ha-two"]["packages"] == [f"ha-two-dbgsym{ending}", f"ha-two{ending}"]


def test_independent_recipes_build_at_the_same_time(built: Built) -> None:
    told = built.run.stderr.splitlines()
    first_end = min(index for index, line in enumerate(told) if re.match(r"ha-(one|three): built", line))
    assert {"ha-one: dependencies", "ha-three: dependencies"} <= set(told[:first_end])


def test_what_needs_another_source_waits_for_it(built: Built) -> None:
    told = built.run.stderr.splitlines()
    end = told.index("ha-one: check")  # what others may use is whole when its rules are kept; lintian takes its time
    early = {line.partition(": ")[2] for line in told[:end] if line.startswith(("ha-two", "ha-stack"))}
    assert early <= {"fetch", "source", "layer", "wait"}, "what needs no other source is done meanwhile"


def test_every_package_has_its_sbom_as_a_plain_file(built: Built) -> None:
    debs = [deb for outcome in built.run.outcomes.values() for deb in built.hapkg.folder(outcome).glob("*.deb")]
    named = [deb for deb in debs if "-dbgsym_" not in deb.name]
    assert len(named) >= 4
    for deb in named:
        package = read_deb_control(deb)
        (sbom,) = [
            json.loads(content)
            for path, content in read_content(deb).items()
            if path == f"/usr/share/doc/{package['Package']}/sbom.cdx.json"
        ]
        told = sbom["metadata"]["component"]
        assert (told["name"], told["version"]) == (package["Package"], package["Version"])
        assert told["purl"].startswith("pkg:deb/hapkg/")


def test_dependencies_come_from_what_a_program_links(built: Built) -> None:
    depends = read_deb_control(built.deb("ha-two"))["Depends"]
    assert "ha-one (>= 1.2)" in depends.split(", ")
    assert ("libc6",) in parse_relation_names(depends)


def test_the_meta_package_pins_what_was_built_together(built: Built) -> None:
    depends = read_deb_control(built.deb("ha-stack"))["Depends"].split(", ")
    assert depends == [f"ha-one (= 1.2-1{MARK})", f"ha-two (= 2.3-1{MARK})", f"ha-three (= 1.0-1{MARK})"]


def test_the_store_keeps_everything_a_build_made(built: Built) -> None:
    for source, outcome in built.run.outcomes.items():
        folder = built.hapkg.folder(outcome)
        (changes,) = folder.glob("*.changes")
        (dsc,) = folder.glob("*.dsc")
        for name in (*read_file_names(changes), *read_file_names(dsc), "build.log", "lintian.txt"):
            assert (folder / name).is_file(), f"{source}: {name}"
        assert len(list(folder.glob("*.buildinfo"))) == 1
    assert built.deb("ha-one-dbgsym").is_file()


def test_private_libraries_are_found_by_runpath(built: Built, tmp_path: Path) -> None:
    assert read_runpaths(built.deb("ha-one"), tmp_path) == {"/opt/ha/lib/libone.so.1.0.0": ["/opt/ha/lib"]}
    assert read_runpaths(built.deb("ha-two"), tmp_path) == {"/opt/ha/bin/two": ["/opt/ha/lib"]}


def test_patches_are_applied(built: Built) -> None:
    assert read_content(built.deb("ha-three"))["/opt/ha/share/plain/README"] == b"A patched source.\n"


def test_the_log_tells_every_phase_and_command(built: Built) -> None:
    log = Path(built.run.outcomes["ha-one"]["log"]).read_text()
    assert [line for line in log.splitlines() if line.startswith("=== ")] == [
        "=== dependencies",
        "=== unpack",
        "=== collect",
        "=== test",
    ]
    assert "PASS: one-test" in log
    assert re.search(r"^libtool: compile:  gcc .*-I/opt/ha/include", log, re.MULTILINE)


def test_a_shell_is_in_the_tree_of_a_build_with_what_the_build_sees(built: Built) -> None:
    script = 'pwd; id -un; echo "$PREFIX"; ls debian/rules *.la 2>/dev/null; pkg-config --modversion one; exit 3'
    done = built.hapkg.run("shell", "two", "--", "sh", "-c", script)
    assert (done.status, done.stdout.split()) == (3, ["/build/ha-two", "hapkg", "/opt/ha", "debian/rules", "1.2"])
    done = built.hapkg.succeed("shell", "--root", "two", "--", "sh", "-c", "id -un; touch /etc/mine")
    assert done.stdout == "root\n"
    assert built.hapkg.run("shell", "two", "--", "cat", "/etc/mine").status == 1, "nothing of a shell stays"
    assert find_leftovers(built.hapkg.chroot, built.hapkg.cache) == NOTHING


def test_a_person_at_a_terminal_has_a_shell(built: Built, tmp_path: Path) -> None:
    seen = tmp_path / "typescript"

    def is_seen(text: str) -> bool:
        return seen.exists() and text in seen.read_text()

    argv = ["script", "-qefc", shlex.join([*built.hapkg.argv, "shell", "two"]), str(seen)]
    base = {"PATH": os.environ["PATH"], "HOME": str(built.hapkg.home), "HAPKG_CACHE": str(built.hapkg.cache)}
    process = subprocess.Popen(
        argv, cwd=built.hapkg.project, env=base, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    for answer, typed in (
        ("$ ", "echo in $PWD; sleep 600\n"),
        ("\nin /build/ha-two", "\x03"),
        ("^C", "echo still $((1 + 1))\n"),
        ("\nstill 2", "exit 4\n"),
    ):
        wait_until(partial(is_seen, answer), answer, seconds=120)
        process.stdin.write(typed)
        process.stdin.flush()
    assert process.wait(60) == 4, seen.read_text()


def test_a_second_build_all_reuses_everything(built: Built) -> None:
    again = built.hapkg.succeed("build-all", "--json")
    assert again.endings == dict.fromkeys(("ha-one", "ha-two", "ha-three", "ha-stack"), "reused")
    assert again.seconds < 10
    plan = json.loads(built.hapkg.succeed("plan", "--json").stdout)
    assert json.loads(built.hapkg.succeed("build-all", "--dry-run", "--json").stdout) == plan
    assert [
        step["source"] for step in json.loads(built.hapkg.succeed("build", "one", "--dry-run", "--json").stdout)
    ] == ["ha-one"]
    assert built.hapkg.run("build", "one@1.0", "--dry-run").status == 2
    assert {step["source"]: (step["action"], step["reason"]) for step in plan} == dict.fromkeys(
        again.endings, ("reuse", "nothing changed")
    )


def test_the_same_inputs_give_the_same_version_and_bytes(hapkg: Hapkg, built: Built) -> None:
    first = built.run.outcomes["ha-one"]
    before = {file.name: digest(file) for file in hapkg.folder(first).iterdir() if file.is_file()}
    hapkg.succeed("clean", "one")
    assert not hapkg.folder(first).exists()
    surroundings = {"TZ": "Pacific/Kiritimati", "LANG": "de_DE.UTF-8", "CFLAGS": "-O0", "DEB_BUILD_OPTIONS": "noopt"}
    again = hapkg.succeed("build-all", "--no-lintian", "--json", **surroundings)
    assert again.endings == {"ha-one": "built", "ha-two": "reused", "ha-three": "reused", "ha-stack": "reused"}
    assert again.outcomes["ha-one"]["version"] == first["version"]
    after = {file.name: digest(file) for file in hapkg.folder(again.outcomes["ha-one"]).iterdir() if file.is_file()}
    timed = (".changes", ".buildinfo", ".log", ".json", ".txt")  # these tell when and how
    assert {n: d for n, d in after.items() if not n.endswith(timed)} == {
        n: d for n, d in before.items() if not n.endswith(timed)
    }
