"""Sites of several clusters in one repository: each has its package, and none takes another's place unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, open_context
from hapkg.build.store import Store
from hapkg.cli.publish import check_identities, tell_packages
from hapkg.cli.select import find_sites, read_site_recipes
from hapkg.control import SourceName
from hapkg.errors import RepositoryError, SiteError
from hapkg.recipe.settings import Project, find_project
from hapkg.repository.upload import Upload
from tests.support.packages import BOOKWORM, Issue, make_deb, make_source
from tests.support.samples import CHECKOUT

SITE = """
[cluster]
name = "NAME"
[[nodes]]
name = "A"
id = 1
addresses = ["192.0.2.11"]
[[nodes]]
name = "B"
id = 2
addresses = ["192.0.2.12"]
[fencing]
opt-out = "a test"
"""


def write_site(file: Path, name: str, nodes: Sequence[str] = ("n1", "n2")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SITE.replace("NAME", name).replace('"A"', f'"{nodes[0]}"').replace('"B"', f'"{nodes[1]}"'))
    return file


def make_context(tmp_path: Path, file: Path | None, project: Project | None = None) -> BuildContext:
    chosen = project or find_project(CHECKOUT)
    extra = read_site_recipes(chosen, file)
    return open_context(find_project(CHECKOUT), Store(root=tmp_path / "state"), BOOKWORM, None, extra)


def make_site_upload(folder: Path, package: str, version: str, cluster: str, nodes: Sequence[str]) -> Upload:
    """A deb that is what a site's package is to a repository: site.json in it."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"format": 1, "cluster": cluster, "nodes": [{"name": node} for node in nodes]}
    files = {"opt/ha/etc/ha-stack/site.json": json.dumps(facts).encode()}
    debs = [make_deb(folder, package, version, files=files, Source=package)]
    if package != "ha-stack-site":
        debs.append(make_deb(folder, "ha-stack-site", version, Depends=f"{package} (= {version})", Source=package))
    return Upload(suite=BOOKWORM, source=SourceName(package), files=(*debs, *make_source(folder, package, version)))


@pytest.mark.parametrize(
    ("package", "version"), [("ha-stack-site", "1+ha12.3"), ("ha-stack-site-three", "2+ha12.1")], ids=["old", "new"]
)
def test_a_site_takes_no_other_clusters_place(
    tmp_path: Path, root: Path, issue: Issue, package: str, version: str
) -> None:
    issue(make_site_upload(tmp_path / "up", package, version, "three", ("n1", "n2", "n3")))
    other = make_context(tmp_path, write_site(tmp_path / "rings.toml", "rings"))
    with pytest.raises(
        RepositoryError, match=r"is the cluster three \(n1, n2, n3\), and rings \(n1, n2\) would replace"
    ):
        check_identities(root, [other], "")
    check_identities(root, [other], "testing")  # nothing is there yet
    check_identities(root, [make_context(tmp_path, write_site(tmp_path / "three.toml", "three"))], "")
    namesake = make_context(tmp_path, write_site(tmp_path / "three.toml", "three", ("db1", "db2")))
    with pytest.raises(RepositoryError, match="db1, db2") as caught:
        check_identities(root, [namesake], "")
    assert "--replace-site" in caught.value.hint


def test_a_newer_version_tells_what_the_cluster_is(tmp_path: Path, root: Path, issue: Issue) -> None:
    issue(make_site_upload(tmp_path / "1", "ha-stack-site", "1+ha12.9", "three", ("n1",)))
    issue(make_site_upload(tmp_path / "2", "ha-stack-site", "1+ha12.10", "rings", ("n1",)))
    check_identities(root, [make_context(tmp_path, write_site(tmp_path / "site.toml", "rings"))], "")


def test_clusters_of_the_folder_sites_share_a_repository(tmp_path: Path, root: Path, issue: Issue) -> None:
    project = find_project(CHECKOUT)
    many = Project(root=tmp_path / "many", settings=project.settings)
    for name in ("alpha", "beta"):
        write_site(tmp_path / f"many/sites/{name}.toml", name)
    recipes = read_site_recipes(many, None)
    assert [str(recipe.name) for recipe in recipes] == ["ha-stack-site-alpha", "ha-stack-site-beta"]
    assert all(len(recipe.packages) == 1 for recipe in recipes), "the common name would be whose?"
    assert find_sites(many, Path("beta")) == (tmp_path / "many/sites/beta.toml",)
    issue(make_site_upload(tmp_path / "up", "ha-stack-site", "1+ha12.3", "gamma", ("n1", "n2")))
    check_identities(root, [make_context(tmp_path, None, many)], "")
    assert tell_packages([make_context(tmp_path, None, many)]) == (
        "on the nodes of alpha: apt install ha-stack ha-stack-site-alpha",
        "on the nodes of beta: apt install ha-stack ha-stack-site-beta",
    )
    write_site(tmp_path / "many/site.toml", "beta")
    with pytest.raises(SiteError, match="its package is ha-stack-site-beta, as that of"):
        read_site_recipes(many, None)


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[bytes], Upload]:
    """An upload of a site whose site.json is this."""

    def make(facts: bytes) -> Upload:
        tmp_path.joinpath("bad").mkdir()
        files = {"opt/ha/etc/ha-stack/site.json": facts}
        deb = make_deb(tmp_path / "bad", "ha-stack-site", "1+ha12.1", files=files)
        source = make_source(tmp_path / "bad", "ha-stack-site", "1+ha12.1")
        return Upload(suite=BOOKWORM, source=SourceName("ha-stack-site"), files=(deb, *source))

    return make


@pytest.mark.parametrize("facts", [b"{", b"[]", b'{"cluster": 1, "nodes": 7}'])
def test_a_damaged_site_of_the_repository_is_an_error(
    tmp_path: Path, root: Path, issue: Issue, damaged: Callable[[bytes], Upload], facts: bytes
) -> None:
    issue(damaged(facts))
    with pytest.raises(RepositoryError, match="cannot be read"):
        check_identities(root, [make_context(tmp_path, write_site(tmp_path / "site.toml", "rings"))], "")
