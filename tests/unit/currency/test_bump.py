"""A recipe's step to another release: a real repository, real tarballs, an archive's indexes; and every way to fail."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hapkg.control import SourceName
from hapkg.currency.bump import check_clean, commit, prepare, settle
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, HapkgError, MachineError, ProcessError, SourceError, UsageError
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.source.lockfile import read_lock
from hapkg.source.patch_review import Fate
from tests.support.samples import STYLES
from tests.support.upstream import GIVEN, NAME, PATCHES, SUITE, Place, git, make_patch


def test_everything_that_names_the_release_changes_and_nothing_else(place: Place) -> None:
    old = place.write()
    seen = place.bump(old)
    new = read_recipe(old.folder, package_prefix="ha-", styles=STYLES)
    assert (new.version, new.revision, f"{new.date:%Y-%m-%dT%H:%M:%SZ}") == ("1.10", 1, "2025-02-03T04:05:06Z")
    assert new.upstream and old.upstream
    assert (new.upstream.tag, new.upstream.commit) == ("v1.10", git(place.repository, "rev-parse", "v1.10"))
    tarball, repository = new.origins
    assert tarball.describe() == place.tarball("1.10").as_uri()
    assert (tarball.pin(new.upstream), repository.type) == (sha256_file(place.tarball("1.10")), "git")
    assert (new.homepage, new.configure, new.packages) == (old.homepage, old.configure, old.packages)
    assert seen.log == (f"{git(place.repository, 'rev-parse', '--short', 'v1.10')} one 1.10",)
    assert (seen.files.new, seen.files.gone) == (("given", "new"), ("old",))
    assert (seen.switches.new, seen.switches.gone) == (("--enable-slow",), ("--enable-fast",))
    assert seen.lost_switches == ("--enable-fast",)


def test_patches_are_dropped_and_refreshed(place: Place) -> None:
    recipe = place.write()
    seen = place.bump(recipe)
    assert {one.name: one.fate for one in seen.patches} == {"moved.patch": Fate.REFRESHED, "given.patch": Fate.DROPPED}
    patches = recipe.folder / "patches"
    assert sorted(file.name for file in patches.iterdir()) == ["moved.patch", "series"]
    assert (patches / "series").read_text() == "# in this order\nmoved.patch\n"
    assert "@@ -2,7 +2,7 @@" in (patches / "moved.patch").read_text()


def test_without_any_patch_left_there_is_no_folder_of_them(place: Place) -> None:
    recipe = place.write(patches={"series": "given.patch\n", "given.patch": GIVEN})
    place.bump(recipe)
    assert not any((recipe.folder / "patches").glob("*.patch"))
    assert read_recipe(recipe.folder, package_prefix="ha-", styles=STYLES).series == ()


def test_the_lock_has_the_new_source_and_keeps_the_others(place: Place) -> None:
    place.bump(place.write())
    lock = read_lock(place.project.root, SUITE)
    assert lock
    assert (lock.sources[NAME].version, lock.sources[NAME].sha256) == ("1.10", sha256_file(place.tarball("1.10")))
    assert lock.sources[SourceName("ha-two")].version == "1.2"


def test_a_patch_that_does_not_apply_changes_nothing(place: Place) -> None:
    bad = make_patch("lost", "x", "y", file="old")
    error = place.refuse(place.write(patches={"series": "lost.patch\n", "lost.patch": bad}), SourceError)
    assert "1 of 1 patches do not apply to version 1.10" in error.brief
    assert error.details[0] == "lost.patch"


def test_a_tarball_of_another_commit_changes_nothing(place: Place) -> None:
    git(place.repository, "tag", "-f", "v1.10", "v1.2")
    assert "commit" in f"{place.refuse(place.write(), HapkgError).brief}"


def test_a_patch_that_ends_by_the_recipes_own_word_goes_untried(place: Place) -> None:
    series = "moved.patch # until 1.10\nlost.patch # until 1.9\n"
    patches = {"series": series, "moved.patch": PATCHES["moved.patch"], "lost.patch": make_patch("lost", "b", "B")}
    old = place.write(patches=patches)
    seen = place.bump(old)
    assert {review.name: review.fate for review in seen.patches} == {
        "moved.patch": Fate.DROPPED,
        "lost.patch": Fate.DROPPED,
    }
    assert read_recipe(old.folder, package_prefix="ha-", styles=STYLES).series == ()
    assert {file.name for file in (old.folder / "patches").iterdir()} == {"series"}


def test_a_patch_for_the_new_version_takes_the_place_of_the_old_one(place: Place) -> None:
    series = "lost.patch # until 1.10\nmoved.patch # since 1.10\n"
    patches = {"series": series, "moved.patch": PATCHES["moved.patch"], "lost.patch": make_patch("lost", "b", "B")}
    old = place.write(patches=patches)
    assert old.series == ("lost.patch",)
    seen = place.bump(old)
    assert {review.name: review.fate for review in seen.patches} == {
        "lost.patch": Fate.DROPPED,
        "moved.patch": Fate.REFRESHED,
    }
    assert read_recipe(old.folder, package_prefix="ha-", styles=STYLES).series == ("moved.patch",)
    assert (old.folder / "patches/series").read_text() == "moved.patch # since 1.10\n"


def test_what_is_held_wants_its_version_named(place: Place) -> None:
    recipe = place.write()
    assert recipe.upstream
    held = recipe.model_copy(update={"upstream": recipe.upstream.model_copy(update={"hold": "not yet"})})
    assert "is held: not yet" in place.refuse(held, UsageError).brief
    assert place.bump(held, "1.10").new.version == "1.10"


@pytest.mark.parametrize(
    ("version", "told"), [("1.2", "already"), ("1.11", "no tag v1.11"), ("1.3~rc1", "is not known")]
)
def test_a_version_that_is_none_is_refused(place: Place, version: str, told: str) -> None:
    assert told in place.refuse(place.write(), UsageError, version).brief


def test_where_nothing_is_newer_it_says_so(place: Place) -> None:
    git(place.repository, "tag", "-d", "v1.10")
    assert "nothing newer than ha-one 1.2" in place.refuse(place.write(), UsageError).brief


def test_a_repository_that_does_not_answer_costs_the_commit_and_its_origin(place: Place) -> None:
    digest = sha256_file(place.tarball("1.2"))
    gone = {"git": "file:///nonexistent", "tag": "v1.2"}
    tarball = {"type": "tarball", "url": place.tarball("1.2").as_uri(), "sha256": digest}
    pinned = {"upstream": {**gone, "commit": "a" * 40}, "origins": [tarball, {"type": "git"}]}
    assert "the commit of v1.10 is not known" in place.refuse(place.write(pinned), FetchError, "1.10").brief
    (place.project.root / "debian-templates").unlink()
    seen = place.bump(place.write({"upstream": pinned["upstream"], "origins": [tarball]}), "1.10")
    assert seen.new.upstream and seen.new.upstream.commit is None
    assert any("the commit of v1.10 is not known" in note for note in seen.notes)
    assert seen.new.date.year == 2025, "that of the newest file"


def test_a_project_that_moved_leaves_its_former_home(place: Place) -> None:
    former = place.folder / "former"
    hg = ["hg", "--config", "ui.username=one", "-R", str(former)]
    subprocess.run(["hg", "init", str(former)], check=True)
    for argv in ([*hg, "branch", "-q", "old"], [*hg, "commit", "-qm", "1.2"], [*hg, "tag", "v1.2"]):
        subprocess.run(argv, check=True, env={"PATH": "/usr/bin:/bin", "HGPLAIN": "1"})
    pin = subprocess.run([*hg, "log", "-r", "v1.2", "-T", "{node}"], check=True, capture_output=True, text=True).stdout
    homes = {"git": place.repository.as_uri(), "hg": former.as_uri(), "tag": "v1.2", "commit": pin}
    digest = sha256_file(place.tarball("1.2"))
    tarball = {"type": "tarball", "url": place.tarball("1.2").as_uri(), "sha256": digest}
    seen = place.bump(place.write({"upstream": homes, "origins": [tarball]}))
    assert seen.new.upstream
    assert seen.new.upstream.repositories == {"git": place.repository.as_uri()}
    assert seen.new.upstream.commit == git(place.repository, "rev-parse", "v1.10")


def test_an_address_that_does_not_answer_may_deliver_what_the_others_have(place: Place) -> None:
    digest = sha256_file(place.tarball("1.2"))
    urls = ["http://127.0.0.1:1/one-1.2.tar.gz", place.tarball("1.2").as_uri()]
    seen = place.bump(place.write({"origins": [{"type": "tarball", "url": url, "sha256": digest} for url in urls]}))
    first, _ = seen.new.origins
    assert first.describe() == "http://127.0.0.1:1/one-1.10.tar.gz"
    assert first.pin(seen.new.upstream) == sha256_file(place.tarball("1.10"))
    assert any("was not fetched" in note for note in seen.notes)


def test_a_signature_that_cannot_be_had_changes_nothing(place: Place) -> None:
    recipe = place.write()
    signature = {"policy": "pgp-tarball", "keys": "keys.asc", "file": "one-1.2.tar.gz.asc"}
    for name in ("keys.asc", "one-1.2.tar.gz.asc"):
        (recipe.folder / name).write_text("none")
    (place.project.root / "debian-templates").unlink()
    signed = place.write({"signature": signature, "origins": [recipe.origins[0].model_dump()]})
    error = place.refuse(signed, FetchError)
    assert "the signature of version 1.10 cannot be had" in error.brief
    assert "put one-1.10.tar.gz.asc into" in error.hint


@pytest.mark.parametrize("stone", ["locks/.bookworm.toml.new", "recipes/one/patches/.series.new"])
def test_a_disk_that_refuses_one_file_gets_none(place: Place, stone: str) -> None:
    recipe = place.write()
    (place.project.root / stone).mkdir()
    error = place.refuse(recipe, MachineError)
    assert "cannot be written" in error.brief
    assert {file.name for file in place.project.root.rglob(".*.new")} == {Path(stone).name}


@pytest.fixture
def checkout(place: Place, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The project in git, with everything committed; nobody's configuration."""
    home = place.folder / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = one\n\temail = one@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    recipe = place.write()
    root = place.project.root
    git(root, "init", "-q")
    git(root, "add", "--all")
    git(root, "commit", "-qm", "all")
    return recipe


def test_a_commit_has_the_recipe_and_the_locks_alone(place: Place, checkout: Recipe) -> None:
    root = place.project.root
    (root / "other").write_text("staged by somebody")
    git(root, "add", "other")
    check_clean(place.project, checkout)
    with prepare(
        place.project, checkout, None, indexes=place.indexes, mirror=place.mirror, state=place.state
    ) as prepared:
        short = commit(place.project, prepared, settle(place.project, prepared))
    assert git(root, "log", "-1", "--format=%h %s") == f"{short} one 1.10"
    assert "given.patch: dropped" in git(root, "log", "-1", "--format=%b")
    assert git(root, "status", "--porcelain") == "A  other"


def test_a_commit_that_git_refuses_leaves_the_recipe_as_it_was(place: Place, checkout: Recipe) -> None:
    root = place.project.root
    hook = root / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with prepare(
        place.project, checkout, None, indexes=place.indexes, mirror=place.mirror, state=place.state
    ) as prepared:
        paths = settle(place.project, prepared)
        with pytest.raises(ProcessError):
            commit(place.project, prepared, paths)
    assert git(root, "status", "--porcelain") == ""


def test_what_nobody_committed_is_not_mixed_in(place: Place, checkout: Recipe) -> None:
    check_clean(place.project, checkout)
    (checkout.folder / "recipe.toml").write_text("# new\n")
    with pytest.raises(UsageError, match="has changes that are not committed"):
        check_clean(place.project, checkout)
