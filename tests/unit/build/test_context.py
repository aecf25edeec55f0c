"""Decisions of a run before it does anything, with the real recipes and a base chroot that is none."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hapkg.build.context import BuildContext, open_context
from hapkg.build.plan import PLACEHOLDER, make_key
from hapkg.build.planner import collect_inputs, find_requirements, render
from hapkg.build.store import Artifact, Store
from hapkg.chroot import resolver
from hapkg.chroot.archives import Archive
from hapkg.chroot.resolver import load_answer
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, SourceName, Suite
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.settings import find_project
from tests.support.samples import CHECKOUT

BOOKWORM = Suite("bookworm")
COROSYNC, STACK = SourceName("ha-corosync"), SourceName("ha-stack")


@functools.cache
def open_at(root: Path) -> BuildContext:
    return open_context(find_project(CHECKOUT), Store(root=root), BOOKWORM, None)


def make_base(root: Path) -> Chroot:
    return Chroot(suite=BOOKWORM, name="none", folder=root / "chroots/bookworm", digest="d" * 64, packages=1)


def make_finished(context: BuildContext, name: SourceName) -> dict[SourceName, Artifact]:
    """Builds of all that a source needs."""
    return {
        need: Artifact(
            key="k" * 64,
            source=need,
            version="1-1+ha12.1",
            suite=BOOKWORM,
            architecture="amd64",
            inputs={},
            origin="a test",
            files={},
            seconds={},
            folder=Path("/nowhere"),
            packages={package.name: {"digest": "0" * 64, "depends": ""} for package in context.recipes[need].packages},
        )
        for need in context.graph.needs[name]
    }


def answer(context: BuildContext, name: SourceName) -> Path:
    """Put down what apt answers to a source: the file."""
    base, folder = make_base(context.store.root), context.store.root / "resolved"
    relations = find_requirements(context, context.recipes[name], make_finished(context, name)).relations
    folder.mkdir(parents=True)
    archive = Archive(version="1.4", file="m4.deb", uri="http://archive.invalid/m4.deb", bytes=1, sha256="0")
    resolver._save(base, relations, State(context.store.root), {"m4": archive})
    asked = resolver._find_answer(base, relations, State(context.store.root))
    assert load_answer(base, relations, State(context.store.root)) == {"m4": "1.4"}
    return asked


def test_the_place_of_the_state_folder_is_no_input(tmp_path: Path) -> None:
    one, two = open_at(tmp_path / "one"), open_at(tmp_path / "deeper/two")
    asked = answer(one, COROSYNC)
    shutil.copytree(asked.parent, two.store.root / "resolved")
    inputs = []
    for context in (one, two):
        recipe = context.recipes[COROSYNC]
        required = find_requirements(context, recipe, make_finished(context, COROSYNC))
        inputs.append(collect_inputs(context, recipe, make_base(context.store.root), required))
    assert inputs[0] == inputs[1]
    assert inputs[0]["depends"] == {"m4": "1.4"}
    assert make_key(inputs[0]) == make_key(inputs[1])
    assert str(tmp_path) not in json.dumps(inputs)


@pytest.mark.parametrize("name", [COROSYNC, STACK])
def test_only_what_a_source_needs_is_in_its_debian_folder(tmp_path: Path, name: SourceName) -> None:
    """A meta-package has the versions of its packages and tells of them: with those of all sources it is the same."""
    context = open_at(tmp_path)
    recipe, project = context.recipes[name], context.project
    everything = {BinaryName(package): "1-1+ha12.1" for package in context.graph.providers}
    whole = render_debian(
        recipe,
        project.settings,
        project.templates,
        suite=BOOKWORM,
        version=PLACEHOLDER,
        key=PLACEHOLDER,
        versions=everything,
        components=[context.recipes[need] for need in sorted(context.graph.needs[name])] if name == STACK else (),
        distribution=context.distribution,
    )
    assert render(context, recipe, PLACEHOLDER, PLACEHOLDER, make_finished(context, name)) == whole


def test_the_architecture_is_dpkgs() -> None:
    said = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    assert read_architecture() == said
