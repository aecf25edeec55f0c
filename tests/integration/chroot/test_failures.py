"""Failures: each is one clear error, and what does not depend on it goes on when asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.machine import NOTHING, SUITE, Complaint, Done, Hapkg, find_leftovers
from tests.support.miniature import PROGRAM, Miniature, make_package, make_patch, make_plain_source

# Real autoconf, so that configure knows which switches it knows.
CONFIGURED = {
    "configure.ac": "AC_INIT([c], [1.0])\nAC_ARG_ENABLE([silent-rules])\nAC_CONFIG_FILES([Makefile])\nAC_OUTPUT\n",
    "Makefile.in": "all:\ninstall:\n",
}


@pytest.fixture(scope="module")
def broken(hapkg: Hapkg, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with --keep-going over sources that each fail in another way, and one that does not."""
    project = Miniature.create(tmp_path_factory.mktemp("broken") / "project", suite=SUITE)
    project.add("switch", CONFIGURED, configure=["--with-gretting=hello"])
    project.add(
        "compile",
        make_plain_source(build=["cc -c main.c"], **{"main.c": "int main(void) { return missing; }\n"}),
        packages=[make_package("compile", ["share/plain"]), make_package("compile-dev", ["include"])],
    )
    project.add("user", make_plain_source(), build_depends=["ha-compile-dev"])
    project.add_meta("stack", ["ha-user", "ha-good"])
    outside = "$(DESTDIR)/usr/share/outside"
    project.add("outside", make_plain_source(install=[f"mkdir -p {outside}", f"cp README {outside}/"]))
    project.add_debian_file("outside", "ha-outside.install", "usr/share/outside\n")
    folder = "$(DESTDIR)$(prefix)/lib/pkgconfig"
    found = {"one.pc": "Name: one\nDescription: what two looks for\nVersion: 1.2\n"}
    project.add(
        "good",
        make_plain_source(install=[f"mkdir -p {folder}", f"cp one.pc {folder}/"], **found),
        packages=[make_package("good", ["lib/pkgconfig"])],
    )
    project.add("two", PROGRAM, version="2.3", build_depends=["pkgconf"], packages=[make_package("two", ["bin/two"])])
    project.add("unread", make_plain_source())
    (project.root / "recipes/unread/recipe.toml").write_text("source = \n")
    done = hapkg.on(project.root).run("build-all", "--keep-going", "--no-lintian", "--json")
    assert "Traceback" not in done.stderr
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    return done


MENDED = {"main.c": "int main(void) { return 0; }\n"}
BROKEN = {"main.c": "int main(void) { return missing; }\n"}
LACKING = {"main.c": "#include <nowhere.h>\nint main(void) { return 0; }\n"}


def add_program(project: Miniature, name: str, files: dict[str, str], *needs: str) -> None:
    """A source of one C file, which others may need."""
    project.add(name, make_plain_source(build=["cc -c main.c"], **files), build_depends=list(needs))


def find(done: Done, source: str) -> Complaint:
    """The one complaint about a source."""
    (found,) = [
        complaint
        for complaint in done.complaints
        if complaint.brief.startswith(f"{source}:") or complaint.brief.startswith(f"{source} ")
    ]
    return found


def test_keep_going_builds_what_does_not_need_a_failed_source(broken: Done) -> None:
    assert broken.status == 10
    assert broken.endings == {
        "ha-compile": "failed",
        "ha-good": "built",
        "ha-outside": "failed",
        "ha-stack": "skipped",
        "ha-switch": "failed",
        "ha-two": "failed",
        "ha-unread": "failed",
        "ha-user": "skipped",
    }
    reasons = {source: broken.outcomes[source]["reason"] for source in ("ha-user", "ha-stack")}
    assert reasons == dict.fromkeys(reasons, "needs ha-compile, which failed")


def test_a_failure_shows_the_end_of_its_log_and_how_to_repeat_it(broken: Done) -> None:
    complaint = find(broken, "ha-compile")
    log = broken.outcomes["ha-compile"]["log"]
    assert complaint.brief == "ha-compile fails in phase compile with exit status 2"
    assert any(re.search("error: .missing. undeclared", line) for line in complaint.details)
    assert complaint.details[-2:] == (f"log: {log}", f"again: hapkg build ha-compile --suite {SUITE}")
    assert "missing" in Path(log).read_text()
    assert complaint.hint == "the first error is further up in the log"


def test_a_switch_that_configure_does_not_know_is_an_error(broken: Done) -> None:
    complaint = find(broken, "ha-switch")
    assert complaint.brief == "ha-switch: configure does not know a switch of the recipe"
    assert "configure: error: unrecognized options: --with-gretting" in complaint.details
    assert "recipe.toml" in complaint.hint


def test_a_file_outside_the_prefix_is_named(broken: Done) -> None:
    complaint = find(broken, "ha-outside")
    assert "ha-outside: /usr/share/outside/README: lies outside /opt/ha and is not declared" in complaint.details
    assert "outside-prefix" in complaint.hint


def test_a_failed_build_is_not_in_the_store(broken: Done, hapkg: Hapkg) -> None:
    kept = {json.loads(file.read_text())["source"] for file in (hapkg.cache / "builds").glob("*/artifact.json")}
    assert "ha-good" in kept
    assert kept.isdisjoint({"ha-compile", "ha-outside", "ha-switch", "ha-user"})


def test_an_undeclared_build_dependency_is_not_there_though_it_is_built(broken: Done) -> None:
    complaint = find(broken, "ha-two")
    assert complaint.brief == "ha-two fails in phase configure with exit status 2"
    assert any("Package requirements (one >= 1.0) were not met" in line for line in complaint.details)
    assert complaint.details[-1] == f"again: hapkg build ha-two --suite {SUITE}"


def test_a_build_dependency_that_does_not_exist_is_named(hapkg: Hapkg, project: Miniature) -> None:
    project.add("lost", make_plain_source(), build_depends=["libnowhere-dev"])
    done = hapkg.on(project.root).run("build", "lost", "--no-lintian")
    assert done.status == 10
    assert done.complaint.brief == "ha-lost: a build dependency cannot be installed"
    assert any("libnowhere-dev" in line for line in done.complaint.details)
    assert "build-depends" in done.complaint.hint


def test_a_distribution_package_that_the_stack_replaces_is_refused(hapkg: Hapkg, project: Miniature) -> None:
    project.add("other", make_plain_source(), shadows=["gettext-bas*"])  # debhelper brings gettext-base
    project.add("shadowed", make_plain_source())
    done = hapkg.on(project.root).run("build", "shadowed", "--no-lintian")
    assert done.status == 10
    assert "gettext-base" in done.complaint.brief
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING


def test_a_patch_that_does_not_apply_is_named(hapkg: Hapkg, project: Miniature) -> None:
    project.add("patched", make_plain_source())
    project.add_patch("patched", make_patch("README", "Another line.", "A patched source."))
    done = hapkg.on(project.root).run("build", "patched")
    assert done.status == 8
    assert done.complaint.brief == "ha-patched: patch change.patch does not apply to version 1.0"
    assert any("README" in line for line in done.complaint.details)
    assert str(project.root / "recipes/patched/patches/change.patch") in done.complaint.hint
    assert done.complaint.brief in hapkg.on(project.root).succeed("logs", "patched").stdout


def test_a_wrong_checksum_stops_the_run(hapkg: Hapkg, project: Miniature) -> None:
    project.add("changed", make_plain_source(), origin={"sha256": "0" * 64})
    project.add("last", make_plain_source())
    done = hapkg.on(project.root).run("build-all", "--jobs", "1", "--json")
    assert done.status == 7
    assert done.endings == {"ha-changed": "failed", "ha-last": "skipped"}
    assert done.outcomes["ha-last"]["reason"] == "stopped after a failure"
    assert any(f"the recipe pins {'0' * 64}" in line for line in done.complaint.details)
    assert "ha-last: fetch" not in done.stderr.splitlines()
    assert not (hapkg.cache / "sources/sha256" / ("0" * 64)).exists()


def test_a_failure_is_told_again_in_the_same_words_and_tried_again_when_asked(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    add_program(project, "again", BROKEN)
    run = ("build-all", "--no-lintian")
    first = program.run(*run)
    assert (first.status, first.complaint.brief) == (10, "ha-again fails in phase compile with exit status 2")
    rows = [line.split(maxsplit=5) for line in first.stdout.splitlines()]
    assert [(row[0], row[2], row[5]) for row in rows[1:]] == [
        ("ha-again", "failed", f"recipe: {first.complaint.brief}"),
    ]
    log = Path(rows[1][4]).read_text()
    second, third = program.run(*run), program.run(*run)
    for done in (second, third):
        assert "ha-again: unpack" not in done.stderr
        assert done.complaint.brief == f"{first.complaint.brief}, as before with the same inputs"
        assert done.complaint.details == first.complaint.details
        assert done.complaint.hint == f"to try it again: hapkg build ha-again; {first.complaint.hint}"
    assert Path(rows[1][4]).read_text() == log
    for asked in (("build", "again", "--no-lintian"), (*run, "--retry")):
        done = program.run(*asked)
        assert done.status == 10
        assert "ha-again: unpack" in done.stderr
        assert done.complaint.brief == first.complaint.brief
    add_program(project, "again", MENDED)
    assert program.succeed(*run, "--json").endings == {"ha-again": "built"}


def test_a_patch_that_did_not_apply_is_told_again_with_the_same_code(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    project.add("misfit", make_plain_source())
    project.add_patch("misfit", make_patch("README", "Another line.", "A patched source."))
    briefs = [(done.status, done.complaint.brief) for done in (program.run("build-all") for _ in range(3))]
    told = "ha-misfit: patch change.patch does not apply to version 1.0"
    assert briefs == [(8, told), *[(8, f"{told}, as before with the same inputs")] * 2]


def test_a_network_that_fails_is_asked_again(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    project.add("away", make_plain_source())
    (tarball,) = (project.root / "upstream").iterdir()
    tarball.rename(tarball.with_suffix(".away"))
    for _ in range(2):
        done = program.run("build-all", "--no-lintian")
        assert (done.status, "as before" in done.stderr) == (6, False)
        assert " network: " in done.stdout.splitlines()[1]
    tarball.with_suffix(".away").rename(tarball)
    assert program.succeed("build-all", "--no-lintian", "--json").endings == {"ha-away": "built"}


def test_a_run_after_a_failure_goes_on_where_it_stopped(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    add_program(project, "lower", MENDED)
    add_program(project, "middle", LACKING, "ha-lower")
    add_program(project, "upper", MENDED, "ha-middle")
    run = ("build", "upper", "--no-lintian", "--json")
    done = program.run(*run)
    assert (done.status, done.endings) == (10, {"ha-lower": "built", "ha-middle": "failed", "ha-upper": "skipped"})
    assert done.outcomes["ha-middle"]["fault"] == "recipe"
    cause = done.outcomes["ha-middle"]["cause"]
    assert (cause["lack"], cause["words"]) == ("build dependency", ["nowhere.h"])
    assert done.outcomes["ha-lower"]["cause"] is None
    add_program(project, "middle", MENDED, "ha-lower")
    done = program.succeed(*run)
    assert done.endings == {"ha-lower": "reused", "ha-middle": "built", "ha-upper": "built"}


def test_a_named_build_that_keeps_going_builds_what_it_can(hapkg: Hapkg, project: Miniature) -> None:
    add_program(project, "bad", BROKEN)
    add_program(project, "good-one", MENDED)
    add_program(project, "both", MENDED, "ha-bad", "ha-good-one")
    add_program(project, "unasked", MENDED)
    done = hapkg.on(project.root).run("build", "both", "--keep-going", "--jobs", "1", "--no-lintian", "--json")
    assert done.status == 10
    assert done.endings == {"ha-bad": "failed", "ha-good-one": "built", "ha-both": "skipped"}
    assert done.outcomes["ha-both"]["reason"] == "needs ha-bad, which failed"


def test_a_source_that_is_not_what_the_lock_says_is_refused(hapkg: Hapkg, project: Miniature) -> None:
    program = hapkg.on(project.root)
    add_program(project, "locked", MENDED)
    program.succeed("lock")
    lock = project.root / "locks" / f"{SUITE}.toml"
    right = lock.read_text()
    lock.write_text(re.sub('tree = ".{8}', 'tree = "00000000', right))
    done = program.run("build", "locked", "--no-lintian")
    assert (done.status, done.complaint.brief) == (7, f"ha-locked is not what {lock} says")
    assert any(line.startswith("tree: locked 00000000") for line in done.complaint.details)
    assert done.complaint.hint == "if the change is meant, run: hapkg lock ha-locked"
    lock.write_text(right)
    assert program.succeed("build", "locked", "--no-lintian", "--json").endings == {"ha-locked": "built"}
    lock.write_text(right.replace('version = "1.0"', 'version = "0.9"'))
    for arguments in (("build", "locked"), ("build-all",)):
        done = program.run(*arguments, "--no-lintian")
        assert (done.status, done.complaint.brief) == (7, f"ha-locked is not what {lock} says")
    lock.write_text(right.splitlines()[0] + "\n")
    done = program.succeed("build", "locked", "--no-lintian", "--json")
    assert "ha-locked is not locked" in done.stderr
    lock.write_text(right)
    assert program.succeed("build", "locked", "--no-lintian", "--json").endings == {"ha-locked": "reused"}
