"""Maintainer scripts of packages: which ones pass as those of debian/ with debhelper's snippets."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from hapkg.build.maintainer_scripts import check_scripts
from hapkg.errors import BuildError

SNIPPET = """\
if [ "$1" = "configure" ]; then
\tif [ -x "/etc/init.d/#SCRIPT#" ]; then
\t\tupdate-rc.d #SCRIPT# #INITPARMS# >/dev/null || #ERROR_HANDLER#
\tfi
fi
"""
OWN = "#!/bin/sh\nset -e\necho ours\n#DEBHELPER#\nexit 0\n"


def fill(script: str = "one", parameters: str = "defaults-disabled", handler: str = "exit 1") -> str:
    """A block that debhelper adds."""
    text = SNIPPET.replace("#SCRIPT#", script).replace("#INITPARMS#", parameters).replace("#ERROR_HANDLER#", handler)
    return f"# Automatically added by dh_installinit/13.11.4\n{text}# End automatically added section\n"


def check(folder: Path, members: Mapping[str, str], debian: Mapping[str, str]) -> tuple[str, ...]:
    """Faults of a package with these files in its control archive."""
    control, snippets = folder / "tree/DEBIAN", folder / "autoscripts"
    control.mkdir(parents=True)
    snippets.mkdir()
    (snippets / "postinst-init").write_text(SNIPPET)
    fields = "Package: ha-one\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: one\n"
    for name, text in {"control": fields, **members}.items():
        (control / name).write_text(text)
        (control / name).chmod(0o755)
    deb = folder / "ha-one_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", folder / "tree", deb], check=True, stdout=-3)
    try:
        check_scripts([deb], {path: text.encode() for path, text in debian.items()}, "ha-one", [snippets])
    except BuildError as error:
        assert error.hint
        return (error.brief, *error.details)
    return ()


GOOD = {
    "none at all": ({}, {}),
    "as debian/ says": ({"postinst": OWN.replace("#DEBHELPER#\n", "")}, {"ha-one.postinst": OWN}),
    "without a place for debhelper": ({"prerm": "#!/bin/sh\ntrue\n"}, {"ha-one.prerm": "#!/bin/sh\ntrue\n"}),
    "of the first package": ({"postinst": OWN.replace("#DEBHELPER#\n", "")}, {"postinst": OWN}),
    "debhelper's alone": ({"postinst": f"#!/bin/sh\nset -e\n{fill()}"}, {}),
    "both": ({"postinst": OWN.replace("#DEBHELPER#\n", fill() + fill("two"))}, {"ha-one.postinst": OWN}),
    "ldconfig": ({"triggers": "# Triggers added by dh_makeshlibs/13.11.4\nactivate-noawait ldconfig\n"}, {}),
    "a trigger of debian/": ({"triggers": "interest /opt/ha\n"}, {"ha-one.triggers": "interest /opt/ha\n"}),
}
"""Members of a control archive and files of debian/ that fit."""


@pytest.mark.parametrize("case", GOOD)
def test_scripts_of_debian_and_debhelper_pass(tmp_path: Path, case: str) -> None:
    assert check(tmp_path, *GOOD[case]) == ()


BAD = {
    "a script of its own": ("postinst", "#!/bin/sh\ntouch /owned\n", ""),
    "another interpreter": ("postinst", f"#!/usr/bin/perl\nset -e\n{fill()}", ""),
    "a line before": ("postinst", OWN.replace("set -e", "touch /owned\nset -e").replace("#DEBHELPER#\n", ""), OWN),
    "a line at the place": ("postinst", OWN.replace("#DEBHELPER#", "touch /owned"), OWN),
    "a line between blocks": ("postinst", OWN.replace("#DEBHELPER#\n", f"{fill()}touch /owned\n{fill()}"), OWN),
    "a line behind": ("postinst", OWN.replace("#DEBHELPER#\n", "") + "touch /owned\n", OWN),
    "a block of its own": (
        "postinst",
        "#!/bin/sh\nset -e\n# Automatically added by dh_x/1\ntouch /owned\n# End automatically added section\n",
        "",
    ),
    "two commands in a value": ("postinst", f"#!/bin/sh\nset -e\n{fill(handler='true; touch /owned')}", ""),
    "a command in a value": ("postinst", f"#!/bin/sh\nset -e\n{fill(script='$(touch /owned)')}", ""),
    "a line in a value": ("postinst", "#!/bin/sh\nset -e\n" + fill(handler="true\ntouch /owned"), ""),
    "a path that leads out": ("postinst", f"#!/bin/sh\nset -e\n{fill(script='../../bin/sh')}", ""),
    "no newline at the end": ("postinst", "#!/bin/sh\nset -e\ntrue", ""),
    "a trigger": ("triggers", "interest /usr/bin\n", ""),
    "questions": ("config", "#!/bin/sh\ntouch /owned\n", ""),
    "templates of questions": ("templates", "Template: x\n", ""),
    "an unknown member": ("preinst.d", "#!/bin/sh\n", ""),
    "a long one": ("postinst", f"#!/bin/sh\nset -e\n{fill() * 1000}", ""),
    "blocks that do not end": ("postinst", "#!/bin/sh\nset -e\n" + "# Automatically added by a\n" * 2000, ""),
}
"""A member of a control archive, its content, and what debian/ has for it, if it has anything."""


@pytest.mark.parametrize("case", BAD)
def test_anything_else_is_named(tmp_path: Path, case: str) -> None:
    name, text, own = BAD[case]
    (fault,) = check(tmp_path, {name: text}, {f"ha-one.{name}": own} if own else {})
    assert fault.startswith("ha-one_1_all.deb has ")
    assert name in fault
