"""The DRBD module, built by module-assistant for the suite's own kernel."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hapkg.deb import read_deb_control
from tests.system.acceptance.conftest import CHECKOUT, SUITE, run_hapkg


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the DRBD module alone, for the suite's default kernel."""
    root = tmp_path_factory.mktemp("module")
    shutil.copytree(CHECKOUT / "debian-templates", root / "debian-templates")
    shutil.copytree(CHECKOUT / "recipes/drbd-module", root / "recipes/drbd-module")
    text = (CHECKOUT / "pyproject.toml").read_text()
    kernels = f'\n[tool.hapkg.kernels]\n{SUITE} = ["default"]\n'
    (root / "pyproject.toml").write_text(re.sub(r"\n\[tool\.hapkg\.kernels\]\n[^[]*", "\n", text) + kernels)
    return root


def build(project: Path) -> dict[str, dict[str, Any]]:
    done = run_hapkg("build-all", "--suite", SUITE, "--json", folder=project)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return {outcome["source"]: outcome for outcome in json.loads(done.stdout)}


def read_modinfo(module: Path) -> dict[str, str]:
    """The output of modinfo about a module."""
    argv = ["objcopy", "-O", "binary", "--only-section=.modinfo", str(module), "/dev/stdout"]
    text = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def test_module_assistant_builds_the_module_for_the_default_kernel(project: Path, tmp_path: Path) -> None:
    outcomes = build(project)
    (name,) = outcomes.keys() - {"ha-drbd-module"}
    kernel = name.removeprefix("ha-drbd-modules-")
    folder = Path(outcomes[name]["log"]).parent
    assert "module-assistant --text-mode --non-inter" in (folder / "build.log").read_text()
    assert "E:" not in (folder / "lintian.txt").read_text()
    (deb,) = folder.glob("*.deb")
    control = read_deb_control(deb)
    assert (control["Package"], control["Version"]) == (name, outcomes[name]["version"])
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tmp_path / "deb")], check=True)
    facts = read_modinfo(tmp_path / "deb/lib/modules" / kernel / "updates/drbd.ko")
    assert facts["version"] == "8.4.11"
    assert facts["vermagic"].split()[0] == kernel
    assert f"depmod -a -F /boot/System.map-{kernel} {kernel}" in (tmp_path / "deb/DEBIAN/postinst").read_text()


def test_what_did_not_change_is_not_built_again(project: Path) -> None:
    assert {outcome["outcome"] for outcome in build(project).values()} == {"reused"}
