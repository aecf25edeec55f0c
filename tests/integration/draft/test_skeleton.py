"""hapkg as it is installed, away from its checkout: what it brings is enough for a project of one's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hapkg import __version__
from tests.support.samples import CHECKOUT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules and files of hapkg as they are installed: built from a copy, because building leaves files behind."""
    place = tmp_path_factory.mktemp("installed")
    copy = place / "checkout"
    for name in ("hapkg", "debian-templates"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(CHECKOUT / name, copy)
    command = ["build", "--build-base", str(place / "base"), "--build-lib", str(place / "lib")]
    setup = ["-c", "import setuptools; setuptools.setup()", "-q", *command]
    subprocess.run([sys.executable, *setup], cwd=copy, check=True, capture_output=True)
    shutil.rmtree(copy)
    return place / "lib"


def run(installed: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = ["-c", "from hapkg.cli.main import main; main()", "--cache", str(cwd / "cache"), *words]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(installed), "HOME": str(cwd)}
    argv = [sys.executable, *program]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_every_file_is_installed(installed: Path) -> None:
    found = [path for name in ("hapkg", "debian-templates") for path in (CHECKOUT / name).rglob("*") if path.is_file()]
    names = [str(path.relative_to(CHECKOUT)) for path in found if "__pycache__" not in path.parts]
    wanted = {name.replace("debian-templates/", "hapkg/debian_templates/", 1) for name in names}
    there = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert wanted - there == set()


def test_a_project_far_from_the_checkout_is_planned(installed: Path, tmp_path: Path) -> None:
    begun = run(installed, tmp_path, "init", "acme", "--maintainer", "ACME <packages@acme.example>")
    assert (begun.returncode, begun.stderr.count("wrote ")) == (0, 6)
    project = tmp_path / "acme"
    planned = run(installed, project, "plan")
    assert (planned.returncode, planned.stderr) == (0, "")
    assert planned.stdout.splitlines()[1].split()[:2] == ["acme-stack", "build"]
    own = project / "debian-templates/common/control.j2"
    own.parent.mkdir(parents=True)
    own.write_text("{{ nothing }}")
    planned = run(installed, project, "plan")
    assert (planned.returncode, "left out" in planned.stdout) == (4, True)
    assert f"error: {own}: 'nothing' is undefined" in planned.stderr


def test_a_folder_that_is_no_project_is_told(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "plan")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


def test_hapkgs_own_package_is_a_recipe_of_this_checkout(tmp_path: Path) -> None:
    project = tmp_path / "tool"
    subprocess.run([sys.executable, CHECKOUT / "packaging/fill.py", project], check=True, capture_output=True)
    program = ["-c", "from hapkg.cli.main import main; main()", "--project", str(project)]
    argv = [sys.executable, *program, "--cache", str(tmp_path / "cache"), "plan", "--suite", "trixie"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:3] == ["hapkg-tool", "build", f"{__version__}-1+ha13.1"]
