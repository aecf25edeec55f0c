"""A kernel that the archive has no headers for."""

from __future__ import annotations

import shutil

from hapkg.errors import ConfigError
from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import CHECKOUT, Miniature


def test_a_kernel_without_headers_is_refused_before_anything_is_built(hapkg: Hapkg, project: Miniature) -> None:
    shutil.copytree(CHECKOUT / "recipes/drbd-module", project.root / "recipes/drbd-module")
    with (project.root / "pyproject.toml").open("a") as file:
        file.write(f'\n[tool.hapkg.kernels]\n{SUITE} = ["default", "6.1.0-9999-amd64"]\n')
    done = hapkg.on(project.root).run("build-all")
    assert done.status == ConfigError.exit_code
    start = f"pyproject.toml, [tool.hapkg.kernels] {SUITE}: kernel 6.1.0-9999-amd64 has no linux-headers-"
    assert done.complaint.brief.startswith(start)
    assert any(line.startswith("default: 6.") for line in done.complaint.details)
    listed = hapkg.on(project.root).succeed("list").stdout
    assert listed.count("ha-drbd-modules-6.") >= 2  # the default one by its name, and the one that has none
