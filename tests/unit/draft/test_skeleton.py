"""Files of a new project: they are a project, and nothing that was there is lost."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from hapkg.draft.skeleton import find_maintainer, make_project
from hapkg.errors import ConfigError, HapkgError, MachineError, UsageError
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.settings import find_project
from tests.support.samples import MAINTAINER


def make(folder: Path, **table: str) -> list[Path]:
    return make_project(
        folder, {"maintainer": MAINTAINER, **{key.replace("_", "-"): table[key] for key in table}}, ["git"]
    )


def test_a_project_is_named_after_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "9 Acme-Tools"
    files = make(folder)
    assert files[-1] == folder / "pyproject.toml"
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    settings = find_project(folder).settings
    assert (settings.prefix, settings.package_prefix, settings.origin) == ("/opt/acmetools", "acmetools-", "acmetools")
    assert list(read_recipes(find_project(folder))) == ["acmetools-stack"]


def test_its_package_has_nothing_of_another_project(tmp_path: Path) -> None:
    make(tmp_path / "acme", suite="trixie", prefix="/srv/acme", package_prefix="ac-")
    project = find_project(tmp_path / "acme")
    ((_, recipe),) = read_recipes(project).items()
    debian = render_debian(
        recipe, project.settings, project.templates, suite=project.pick_suite(None), version="1.0", key="k", versions={}
    )
    assert "ac-stack.preinst" not in debian.files
    text = b"\n".join(debian.files.values()).decode()
    assert "Test Person" in debian.files["copyright"].decode()
    assert [word for word in ("corosync", "ha-stack", "hapkg maintainers") if word in text] == []


@pytest.mark.parametrize("there", ["pyproject.toml", "README.md", "recipes/stack/recipe.toml", ".gitlab-ci.yml"])
def test_a_file_that_is_there_is_kept_and_nothing_is_written_beside_it(tmp_path: Path, there: str) -> None:
    file = tmp_path / "acme" / there
    file.parent.mkdir(parents=True)
    file.symlink_to("nowhere")
    with pytest.raises(UsageError, match=f"{there} exists already"):
        make(tmp_path / "acme")
    assert [path for path in (tmp_path / "acme").rglob("*") if not path.is_dir()] == [file]


@pytest.mark.parametrize(
    ("table", "told", "kind"),
    [
        ({"suite": "wheezy"}, "suite: 'wheezy' is not a suite", ConfigError),
        ({"prefix": "opt"}, "prefix: ", ConfigError),
        ({"package_prefix": "Acme"}, "package-prefix: ", ConfigError),
        ({"maintainer": "nobody"}, "maintainer: ", ConfigError),
        ({"maintainer": 'A "B" <a@b>\nx = "'}, "maintainer: ", ConfigError),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_written(
    tmp_path: Path, table: dict[str, str], told: str, kind: type[HapkgError]
) -> None:
    with pytest.raises(kind, match=f"hapkg init: {told}"):
        make(tmp_path / "acme", **table)
    assert not (tmp_path / "acme").exists()


def test_a_maintainer_s_name_may_have_any_sign(tmp_path: Path) -> None:
    maintainer = 'Zoë "Q" O\\Neil <q@example.org>'
    make(tmp_path / "acme", maintainer=maintainer)
    assert find_project(tmp_path / "acme").settings.maintainer == maintainer
    recipe = tomllib.loads((tmp_path / "acme/recipes/stack/recipe.toml").read_text("utf-8"))
    assert maintainer.startswith(recipe["copyright"][0]["copyright"][0].partition(" ")[2])


def test_a_folder_without_a_letter_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no letter"):
        make(tmp_path / "2026")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("")
    with pytest.raises(MachineError, match="acme"):
        make(tmp_path / "acme")


def test_the_maintainer_is_debian_s_or_git_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBFULLNAME", "DEBEMAIL", *(name for name in os.environ if name.startswith("GIT_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="who maintains"):
        find_maintainer()
    (tmp_path / ".gitconfig").write_text("[user]\nname = One\nemail = one@example.org\n")
    assert find_maintainer() == "One <one@example.org>"
    monkeypatch.setenv("DEBFULLNAME", "Two")
    monkeypatch.setenv("DEBEMAIL", "two@example.org")
    assert find_maintainer() == "Two <two@example.org>"
