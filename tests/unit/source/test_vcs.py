"""Snapshots out of upstream's own repository: real git and hg on repositories that the test makes."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hapkg.errors import FetchError, IntegrityError, RecipeError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.dep3 import PatchHeader
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.recipe.series import OwnPatch
from hapkg.source.fetch import Tarball, fetch, fetch_commit
from hapkg.source.snapshot import make_snapshot_recipe
from hapkg.source.vcs import find_commit, find_release
from tests.support.samples import STYLES

RECIPE = """
source = "ha-one"
version = "1.0"
style = "autotools"
date = 2024-01-01T00:00:00Z
homepage = "https://one.example.org"

[upstream]
{repositories}
tag = "v1.0"
{commit}

[[origins]]
type = "tarball"
url = "https://one.example.org/one-1.0.tar.gz"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[[copyright]]
copyright = ["2024 One"]
license = "GPL-2+"

[[packages]]
package = "ha-one"
synopsis = "one"
description = "One."
files = ["bin"]
"""
HEADER = PatchHeader(description="a", author="b", origin="", forwarded="", fixes=())
WHEN = {"GIT_COMMITTER_DATE": "2024-05-06T07:08:09Z", "GIT_AUTHOR_DATE": "2024-05-06T07:08:09Z"}
WHO = ["-c", "user.name=one", "-c", "user.email=one@example.org", "-c", "init.defaultBranch=main"]


def run(*argv: str, **environment: str) -> str:
    return subprocess.run(
        argv,
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment},
    ).stdout.strip()


def make_recipe(folder: Path, *, commit: str = "", **repositories: Path) -> Recipe:
    lines = [f'{kind} = "file://{path}"' for kind, path in repositories.items()]
    home = folder / "one"
    home.mkdir(exist_ok=True)
    pin = f'commit = "{commit}"' if commit else ""
    (home / "recipe.toml").write_text(RECIPE.format(repositories="\n".join(lines), commit=pin))
    return read_recipe(home, package_prefix="ha-", styles=STYLES)


@pytest.fixture
def git(tmp_path: Path) -> Path:
    """A repository with the tag v1.0 and one commit after it."""
    repository = tmp_path / "git"
    run("git", *WHO, "init", "-q", str(repository))
    for number, tag in (("1", "v1.0"), ("2", None)):
        (repository / "file").write_text(number)
        run("git", "-C", str(repository), "add", "file")
        run("git", "-C", str(repository), *WHO, "commit", "-qm", number, **WHEN)
        if tag:
            run("git", "-C", str(repository), *WHO, "tag", tag)
    return repository


@pytest.fixture
def hg(tmp_path: Path) -> Path:
    """The repository of `git`, in Mercurial."""
    repository = tmp_path / "hg"
    run("hg", "init", str(repository))
    for number, tag in (("1", "v1.0"), ("2", None)):
        (repository / "file").write_text(number)
        run("hg", "-R", str(repository), "commit", "-qAm", number, "-u", "one", "-d", "1714979289 0")
        if tag:
            run("hg", "-R", str(repository), "tag", tag, "-u", "one", "-d", "1714979289 0")
    return repository


@dataclass(frozen=True)
class Checkout:
    recipe: Recipe
    tarball: Tarball


def check_out(recipe: Recipe, kind: str, ref: str | None, cache: Path) -> Checkout:
    commit = find_commit(recipe, kind, ref, State(cache))
    snapshot = make_snapshot_recipe(recipe, commit, ref, find_release(recipe, commit))
    return Checkout(recipe=snapshot, tarball=fetch_commit(snapshot, commit, State(cache)))


def read_tree(tarball: Path) -> dict[str, bytes]:
    with tarfile.open(tarball) as archive:
        files = [member for member in archive if member.isfile()]
        return {member.name: opened.read() for member in files if (opened := archive.extractfile(member))}


def test_the_tag_of_a_git_repository_is_a_snapshot_of_the_release(tmp_path: Path, git: Path) -> None:
    commit = run("git", "-C", str(git), "rev-parse", "v1.0")
    found = check_out(make_recipe(tmp_path, git=git), "git", None, tmp_path / "cache")
    version = f"1.0+git20240506070809.{commit[:7]}"
    assert found.recipe.version == version
    assert found.recipe.upstream is not None
    assert (found.recipe.upstream.tag, found.recipe.upstream.commit) == ("v1.0", commit)
    assert found.recipe.source_date_epoch == 1714979289
    assert read_tree(found.tarball.path) == {f"ha-one-{version}/file": b"1"}


def test_a_branch_gives_its_newest_commit_even_after_a_first_look(tmp_path: Path, git: Path) -> None:
    recipe = make_recipe(tmp_path, git=git)
    check_out(recipe, "git", None, tmp_path / "cache")
    (git / "file").write_text("3")
    run("git", "-C", str(git), *WHO, "commit", "-qam", "3", **WHEN)
    found = check_out(recipe, "git", "main", tmp_path / "cache")
    assert list(read_tree(found.tarball.path).values()) == [b"3"]


def test_a_known_commit_needs_no_repository_any_more(tmp_path: Path, git: Path) -> None:
    recipe = make_recipe(tmp_path, git=git)
    commit = run("git", "-C", str(git), "rev-parse", "main")
    first = check_out(recipe, "git", commit, tmp_path / "cache")
    git.rename(tmp_path / "gone")
    assert check_out(recipe, "git", commit, tmp_path / "cache") == first


def test_the_same_commit_gives_the_same_bytes_in_another_cache(tmp_path: Path, git: Path) -> None:
    recipe = make_recipe(tmp_path, git=git)
    digests = {check_out(recipe, "git", "main", tmp_path / name).tarball.sha256 for name in ("a", "b")}
    assert len(digests) == 1


def test_mercurial_works_the_same(tmp_path: Path, hg: Path) -> None:
    commit = run("hg", "-R", str(hg), "log", "-r", "v1.0", "-T", "{node}")
    found = check_out(make_recipe(tmp_path, hg=hg), "hg", None, tmp_path / "cache")
    assert found.recipe.version == f"1.0+git20240506070809.{commit[:7]}"
    tree = read_tree(found.tarball.path)
    assert [content for name, content in tree.items() if name.endswith("/file")] == [b"1"]


def test_the_same_node_gives_the_same_bytes_whatever_is_tagged_later(tmp_path: Path, hg: Path) -> None:
    recipe = make_recipe(tmp_path, hg=hg)
    node = run("hg", "-R", str(hg), "log", "-r", "tip", "-T", "{node}")
    first = check_out(recipe, "hg", node, tmp_path / "a")
    run("hg", "-R", str(hg), "tag", "nightly", "-r", node, "-u", "one", "-d", "1714979289 0")
    second = check_out(recipe, "hg", node, tmp_path / "b")
    assert first.tarball.path != second.tarball.path
    assert first.tarball.sha256 == second.tarball.sha256


@pytest.mark.parametrize("kind", ["git", "hg"])
def test_a_tag_that_moved_is_refused(tmp_path: Path, git: Path, hg: Path, kind: str) -> None:
    recipe = make_recipe(tmp_path, commit="1" * 40, **{kind: git if kind == "git" else hg})
    with pytest.raises(IntegrityError, match=r"ha-one: tag v1.0 is commit [0-9a-f]{40}, the recipe says 1{40}"):
        check_out(recipe, kind, None, tmp_path / "cache")


def test_where_both_homes_are_named_the_commit_is_of_mercurial(tmp_path: Path, git: Path, hg: Path) -> None:
    node = run("hg", "-R", str(hg), "log", "-r", "v1.0", "-T", "{node}")
    recipe = make_recipe(tmp_path, commit=node, git=git, hg=hg)
    assert recipe.upstream is not None
    assert recipe.upstream.homes == (f"git file://{git} v1.0", f"hg file://{hg} v1.0 {node}")
    assert (recipe.upstream.address, recipe.upstream.address_commit) == (f"file://{git}", None)
    found = check_out(recipe, "hg", None, tmp_path / "cache").recipe.upstream
    assert found is not None
    assert (found.homes, found.address_commit) == ((f"hg file://{hg} v1.0 {node}",), node)
    commit = run("git", "-C", str(git), "rev-parse", "v1.0")
    found = check_out(recipe, "git", None, tmp_path / "cache").recipe.upstream
    assert found is not None
    assert found.homes == (f"git file://{git} v1.0 {commit}",)


def test_submodules_are_refused(tmp_path: Path, git: Path) -> None:
    run("git", "-C", str(git), *WHO, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(git), "inner")
    run("git", "-C", str(git), *WHO, "commit", "-qam", "submodule")
    with pytest.raises(SourceError, match="has submodules, which git archive leaves empty: inner"):
        check_out(make_recipe(tmp_path, git=git), "git", "main", tmp_path / "cache")


def add_submodule(repository: Path, module: Path) -> str:
    """Give a repository a submodule, and commit that; the commit."""
    allow = ["-c", "protocol.file.allow=always"]
    run("git", "-C", str(repository), *WHO, *allow, "submodule", "add", "-q", str(module), "deep/inner")
    run("git", "-C", str(repository), *WHO, "commit", "-qam", "submodule", **WHEN)
    return run("git", "-C", str(repository), "rev-parse", "HEAD")


def name_submodule(recipe: Recipe, url: str) -> Recipe:
    """The recipe with an address for the submodule."""
    assert recipe.upstream is not None
    named = recipe.upstream.model_copy(update={"submodules": {"deep/inner": url}})
    return recipe.model_copy(update={"upstream": named})


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A repository that others have as a submodule."""
    repository = tmp_path / "module"
    run("git", *WHO, "init", "-q", str(repository))
    (repository / "header.h").write_text("first\n")
    (repository / "link").symlink_to("header.h")
    run("git", "-C", str(repository), "add", ".")
    run("git", "-C", str(repository), *WHO, "commit", "-qm", "first", **WHEN)
    return repository


def test_a_submodule_that_the_recipe_names_is_had_at_the_commit_of_the_tree(
    tmp_path: Path, git: Path, module: Path
) -> None:
    pinned = add_submodule(git, module)
    (module / "header.h").write_text("second\n")
    run("git", "-C", str(module), *WHO, "commit", "-qam", "second")
    recipe = name_submodule(make_recipe(tmp_path, git=git), module.as_uri())
    found = check_out(recipe, "git", "main", tmp_path / "cache").tarball
    with tarfile.open(found.path) as archive:
        top = found_top(archive)
        assert {member.name.removeprefix(f"{top}/") for member in archive if not member.isdir()} == {
            ".gitmodules",
            "deep/inner/header.h",
            "deep/inner/link",
            "file",
        }
        header = archive.extractfile(f"{top}/deep/inner/header.h")
        assert header is not None
        assert header.read() == b"first\n"
        assert archive.getmember(f"{top}/deep/inner/link").linkname == "header.h"
    again = check_out(recipe, "git", "main", tmp_path / "again").tarball
    assert again.sha256 == found.sha256
    assert pinned in found.origin
    with found.path.open("rb") as raw:  # whose commit it is, git still says
        told = subprocess.run(["sh", "-c", "zcat | git get-tar-commit-id"], stdin=raw, capture_output=True, check=True)
    assert told.stdout.decode().strip() == pinned


def found_top(archive: tarfile.TarFile) -> str:
    """The one folder that everything is in."""
    (top,) = {member.name.split("/")[0] for member in archive}
    return top


def test_a_submodule_elsewhere_is_refused(tmp_path: Path, git: Path, module: Path) -> None:
    add_submodule(git, module)
    recipe = make_recipe(tmp_path, git=git)
    with pytest.raises(SourceError, match=r"git does not have [0-9a-f]{40}, the commit of submodule deep/inner"):
        check_out(name_submodule(recipe, git.as_uri()), "git", "main", tmp_path / "cache")
    with pytest.raises(FetchError, match=r"nowhere cannot be reached"):
        check_out(name_submodule(recipe, f"file://{tmp_path}/nowhere"), "git", "main", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))
    add_submodule(module, git)
    run("git", "-C", str(git / "deep/inner"), "pull", "-q", str(module))
    run("git", "-C", str(git), *WHO, "commit", "-qam", "newer submodule")
    with pytest.raises(SourceError, match=r"submodule deep/inner has submodules: deep/inner"):
        check_out(name_submodule(recipe, module.as_uri()), "git", "main", tmp_path / "cache")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('{ "../inner" = "https://one.example.org/inner" }', "is not a path of a folder inside the tree"),
        ('{ "/inner" = "https://one.example.org/inner" }', "is not a path of a folder inside the tree"),
        ('{ "inner" = "rsync://one.example.org/inner" }', r"upstream\.submodules\.inner"),
        ('{ "inner" = "--upload-pack=touch" }', r"upstream\.submodules\.inner"),
    ],
)
def test_what_is_no_submodule_is_refused(tmp_path: Path, git: Path, table: str, message: str) -> None:
    make_recipe(tmp_path, git=git)
    file = tmp_path / "one/recipe.toml"
    file.write_text(file.read_text().replace('tag = "v1.0"', f'tag = "v1.0"\nsubmodules = {table}'))
    with pytest.raises(RecipeError, match=message):
        read_recipe(tmp_path / "one", package_prefix="ha-", styles=STYLES)


def test_subrepositories_are_refused(tmp_path: Path, hg: Path) -> None:
    run("hg", "init", str(hg / "inner"))
    (hg / "inner/file").write_text("inner")
    run("hg", "-R", str(hg / "inner"), "commit", "-qAm", "inner", "-u", "one")
    (hg / ".hgsub").write_text("inner = inner\n")
    run("hg", "-R", str(hg), "commit", "-qAm", "subrepository", "-u", "one")
    recipe = make_recipe(tmp_path, hg=hg)
    with pytest.raises(SourceError, match="has subrepositories, which hg archive leaves out: inner"):
        check_out(recipe, "hg", "tip", tmp_path / "cache")
    check_out(recipe, "hg", "v1.0", tmp_path / "cache")  # which had none


def test_what_travels_unprotected_is_taken_by_its_commit_alone(tmp_path: Path, hg: Path) -> None:
    recipe = make_recipe(tmp_path, commit="1" * 40, hg=hg)
    assert recipe.upstream is not None
    bare = recipe.upstream.model_copy(update={"hg": "http://one.example.org/hg"})
    with pytest.raises(UsageError, match="a branch of it may be anything"):
        find_commit(recipe.model_copy(update={"upstream": bare}), "hg", "default", State(tmp_path / "cache"))
    file = tmp_path / "one" / "recipe.toml"
    text = file.read_text().replace(f"file://{hg}", "http://one.example.org/hg")
    file.write_text(text.replace(f'commit = "{"1" * 40}"', ""))
    with pytest.raises(RecipeError, match="hg by http needs commit"):
        read_recipe(file.parent, package_prefix="ha-", styles=STYLES)


@pytest.mark.parametrize(
    ("kind", "ref", "error", "text"),
    [
        ("git", "v9", UsageError, "has no commit, tag or branch v9"),
        ("git", "--upload-pack=x", UsageError, "has no commit, tag or branch --upload-pack=x"),
        ("hg", None, UsageError, "ha-one names no hg repository"),
    ],
)
def test_what_cannot_be_found_is_said(tmp_path: Path, git: Path, kind: str, ref: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        check_out(make_recipe(tmp_path, git=git), kind, ref, tmp_path / "cache")


def test_an_unreachable_repository_is_a_fetch_error_and_leaves_nothing(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, git=tmp_path / "nowhere")
    with pytest.raises(FetchError, match="cannot be reached"):
        check_out(recipe, "git", None, tmp_path / "cache")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix != ".lock"] == []


def test_a_repository_serves_when_no_tarball_can_be_had(tmp_path: Path, git: Path) -> None:
    commit = run("git", "-C", str(git), "rev-parse", "v1.0")
    recipe = make_recipe(tmp_path, commit=commit, git=git)
    file = tmp_path / "one" / "recipe.toml"
    text = file.read_text().replace("https://one.example.org/one-1.0.tar.gz", f"file://{tmp_path}/gone.tar.gz")
    file.write_text(text.replace("[[copyright]]", '[[origins]]\ntype = "git"\n\n[[copyright]]'))
    recipe = read_recipe(file.parent, package_prefix="ha-", styles=STYLES)
    tarball = fetch(recipe, State(tmp_path / "cache"), None)
    assert tarball.origin == f"git file://{git} {commit}"
    assert any("gone.tar.gz" in note for note in tarball.notes)
    assert read_tree(tarball.path) == {"ha-one-1.0/file": b"1"}
    assert commit in recipe.pins


def test_a_repository_as_an_origin_needs_a_commit(tmp_path: Path, git: Path) -> None:
    make_recipe(tmp_path, git=git)
    file = tmp_path / "one" / "recipe.toml"
    file.write_text(file.read_text().replace("[[copyright]]", '[[origins]]\ntype = "git"\n\n[[copyright]]'))
    with pytest.raises(RecipeError, match=r"an origin of type git needs git and commit in \[upstream\]"):
        read_recipe(file.parent, package_prefix="ha-", styles=STYLES)


def commit_file(repository: Path, content: str, name: str = "file") -> str:
    """Commit a file to the git repository's branch; the commit."""
    (repository / name).write_text(content)
    run("git", "-C", str(repository), "add", name)
    run("git", "-C", str(repository), *WHO, "commit", "-qm", content, **WHEN)
    return run("git", "-C", str(repository), "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["refs/v1.0", "refs/heads/v1.0", "refs/heads/refs/tags/v1.0", "refs/notes/v1.0"])
def test_a_ref_of_a_tags_name_does_not_stand_for_the_tag(tmp_path: Path, git: Path, name: str) -> None:
    """git itself looks at refs/v1.0 before refs/tags/v1.0."""
    other = run("git", "-C", str(git), "rev-parse", "main")
    run("git", "-C", str(git), "update-ref", name, other)
    found = check_out(make_recipe(tmp_path, git=git), "git", None, tmp_path / "cache")
    assert list(read_tree(found.tarball.path).values()) == [b"1"]


def test_a_recipes_tag_is_no_branch(tmp_path: Path, git: Path) -> None:
    run("git", "-C", str(git), "tag", "-d", "v1.0")
    run("git", "-C", str(git), "branch", "v1.0")
    with pytest.raises(UsageError, match=r"has no tag v1\.0"):
        check_out(make_recipe(tmp_path, git=git), "git", None, tmp_path / "cache")


def test_a_replaced_object_does_not_stand_for_the_commit(tmp_path: Path, git: Path) -> None:
    commit = run("git", "-C", str(git), "rev-parse", "v1.0")
    run("git", "-C", str(git), "replace", commit, commit_file(git, "other"))
    recipe = make_recipe(tmp_path, commit=commit, git=git)
    assert list(read_tree(check_out(recipe, "git", None, tmp_path / "cache").tarball.path).values()) == [b"1"]
    mirror = next((tmp_path / "cache/sources/git").glob("*/HEAD")).parent
    assert set(run("git", "-C", str(mirror), "for-each-ref", "--format=%(refname)").split()) == {
        "refs/heads/main",
        "refs/tags/v1.0",
    }


def test_branches_that_are_gone_are_gone_here(tmp_path: Path, git: Path) -> None:
    run("git", "-C", str(git), "branch", "side")
    recipe = make_recipe(tmp_path, git=git)
    check_out(recipe, "git", "side", tmp_path / "cache")
    run("git", "-C", str(git), "branch", "-D", "side")
    with pytest.raises(UsageError, match="has no commit, tag or branch side"):
        check_out(recipe, "git", "side", tmp_path / "cache")


@pytest.mark.parametrize("length", [40, 12])
def test_an_id_is_found_and_may_be_cut_short(tmp_path: Path, git: Path, length: int) -> None:
    commit = run("git", "-C", str(git), "rev-parse", "main")
    assert find_commit(make_recipe(tmp_path, git=git), "git", commit[:length], State(tmp_path / "cache")).id == commit


def test_the_head_of_the_server_is_found(tmp_path: Path, git: Path) -> None:
    run("git", "-C", str(git), "checkout", "-qb", "other")
    commit = commit_file(git, "3")
    assert find_commit(make_recipe(tmp_path, git=git), "git", "HEAD", State(tmp_path / "cache")).id == commit


def test_a_commit_of_no_branch_is_asked_for_by_its_id(tmp_path: Path, git: Path) -> None:
    commit = commit_file(git, "3")
    run("git", "-C", str(git), "update-ref", "refs/pull/7/head", commit)
    run("git", "-C", str(git), "reset", "-q", "--hard", "v1.0")
    run("git", "-C", str(git), "config", "uploadpack.allowAnySHA1InWant", "true")
    assert find_commit(make_recipe(tmp_path, git=git), "git", commit, State(tmp_path / "cache")).id == commit


def test_names_of_refs_do_not_get_into_an_archive(tmp_path: Path, git: Path) -> None:
    """A commit gives the same bytes whatever is tagged later."""
    (git / ".gitattributes").write_text("version export-subst\n")
    commit_file(git, "$Format:%d %H$\n", "version")
    run("git", "-C", str(git), "add", ".gitattributes")
    run("git", "-C", str(git), *WHO, "commit", "-qm", "attributes", **WHEN)
    recipe = make_recipe(tmp_path, git=git)
    commit = run("git", "-C", str(git), "rev-parse", "main")
    first = check_out(recipe, "git", commit, tmp_path / "a")
    run("git", "-C", str(git), "tag", "moved-here")
    second = check_out(recipe, "git", commit, tmp_path / "b")
    assert first.tarball.sha256 == second.tarball.sha256
    assert b"$Format:%d %H$\n" in read_tree(first.tarball.path).values()


@pytest.mark.parametrize(
    "setting", ["core.autocrlf=true", "core.attributesFile=/tmp/attributes", "tar.umask=0077", "core.eol=crlf"]
)
def test_the_users_configuration_changes_no_byte(
    tmp_path: Path, git: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    (git / ".gitattributes").write_text("* text=auto\n")
    commit_file(git, "one\ntwo\n")
    recipe = make_recipe(tmp_path, git=git)
    plain = check_out(recipe, "git", "main", tmp_path / "a").tarball.sha256
    home = tmp_path / "home"
    home.mkdir()
    attributes = home / "attributes"
    attributes.write_text("file export-ignore\n")
    key, _, value = setting.replace("/tmp/attributes", str(attributes)).partition("=")
    run("git", "config", "--file", str(home / ".gitconfig"), key, value)
    monkeypatch.setenv("HOME", str(home))
    assert check_out(recipe, "git", "main", tmp_path / "b").tarball.sha256 == plain


@pytest.mark.parametrize("place", ["origin", "mirror"])
def test_hooks_of_a_mercurial_repository_do_not_run(tmp_path: Path, hg: Path, place: str) -> None:
    ran = tmp_path / "ran"
    recipe = make_recipe(tmp_path, hg=hg)
    folder = hg
    if place == "mirror":
        folder = find_commit(recipe, "hg", None, State(tmp_path / "cache")).mirror
    with (folder / ".hg/hgrc").open("a") as file:
        hooks = ("preoutgoing", "outgoing", "prelistkeys", "prechangegroup", "changegroup", "incoming")
        file.write("\n[hooks]\n" + "".join(f"{hook} = touch {ran}\n" for hook in hooks))
    (hg / "file").write_text("3")
    run("hg", "-R", str(hg), "commit", "-qm", "3", "-u", "one", HGRCSKIPREPO="1")
    check_out(recipe, "hg", "default", tmp_path / "cache")
    assert not ran.exists()


def test_a_hook_would_run_without_that(tmp_path: Path, hg: Path) -> None:
    """Whoever drops HGRCSKIPREPO sees what it is for."""
    ran = tmp_path / "ran"
    (hg / ".hg/hgrc").write_text(f"[hooks]\npreoutgoing = touch {ran}\n")
    run("hg", "clone", "-q", str(hg), str(tmp_path / "clone"))
    assert ran.exists()


def test_a_bookmark_of_a_tags_name_does_not_stand_for_the_tag(tmp_path: Path, hg: Path) -> None:
    """Mercurial itself looks at bookmarks first."""
    run("hg", "-R", str(hg), "bookmark", "--force", "--rev", "tip", "v1.0")
    found = check_out(make_recipe(tmp_path, hg=hg), "hg", None, tmp_path / "cache")
    assert [content for name, content in read_tree(found.tarball.path).items() if name.endswith("/file")] == [b"1"]


def test_a_ref_of_mercurial_is_a_name_and_no_expression(tmp_path: Path, hg: Path) -> None:
    recipe = make_recipe(tmp_path, hg=hg)
    for ref in ("all()", "0", "v1.0 or tip", "'", "tag('re:.*')"):
        with pytest.raises(UsageError, match="has no commit, tag or branch"):
            find_commit(recipe, "hg", ref, State(tmp_path / "cache"))


def test_the_release_before_a_commit_decides_about_patches(tmp_path: Path, git: Path, hg: Path) -> None:
    recipe = make_recipe(tmp_path, git=git, hg=hg)
    patches = [OwnPatch(name=f"{until}.patch", header=HEADER, until=until) for until in (None, "1.1", "1.2")]
    recipe = recipe.model_copy(update={"every_patch": tuple(patches)})
    cache = State(tmp_path / "cache")
    commit = find_commit(recipe, "git", "main", cache)
    assert find_release(recipe, commit) == "1.0"
    run("git", "-C", str(git), *WHO, "tag", "v1.1")
    run("git", "-C", str(git), *WHO, "tag", "v1.1-rc1")  # before the release
    run("git", "-C", str(git), *WHO, "tag", "v20180101")  # a date
    run("hg", "-R", str(hg), "tag", "v1.1", "-u", "one")
    for kind, ref in (("git", "main"), ("git", "v1.1"), ("hg", "default")):
        commit = find_commit(recipe, kind, ref, cache)
        assert find_release(recipe, commit) == "1.1"
        made = make_snapshot_recipe(recipe, commit, ref, find_release(recipe, commit))
        assert (made.version.partition("+")[0], made.series) == ("1.1", ("None.patch", "1.2.patch"))
    old = find_commit(recipe, "git", "v1.0", cache)
    assert make_snapshot_recipe(recipe, old, None, find_release(recipe, old)).series == recipe.series
    run("git", "-C", str(git), *WHO, "checkout", "-q", "--orphan", "bare")
    run("git", "-C", str(git), *WHO, "commit", "-qm", "without tags")
    assert find_release(recipe, find_commit(recipe, "git", "bare", cache)) == "1.0", "the recipe's own"
