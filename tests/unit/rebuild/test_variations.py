"""Variations: which there are, and the conditions that several make together."""

from __future__ import annotations

import shlex

import pytest

from hapkg.chroot.conditions import Conditions
from hapkg.errors import UsageError
from hapkg.rebuild.variations import VARIATIONS, choose, choose_parallel, make_conditions


def test_all_are_chosen_in_their_own_order() -> None:
    assert choose((), True) == tuple(VARIATIONS)
    assert choose(("umask", "path"), False) == ("path", "umask")
    assert choose((), False) == ()


def test_a_wrong_name_gets_a_guess() -> None:
    with pytest.raises(UsageError) as caught:
        choose(("unmask",), False)
    assert "did you mean umask?" in caught.value.hint


def test_each_changes_something() -> None:
    plain = make_conditions((), (), 2, 0)
    assert plain == Conditions()
    for name in VARIATIONS:
        jobs = choose_parallel((name,), 2)
        assert make_conditions((name,), (), jobs, 0) != plain, name


def test_one_core_becomes_three_jobs_and_several_become_one() -> None:
    assert (choose_parallel(("cores",), 1), choose_parallel(("cores",), 8), choose_parallel((), 8)) == (3, 1, 8)
    assert "taskset" in make_conditions(("cores",), (), 1, 3).command
    assert "taskset" not in make_conditions(("cores",), (), 3, 3).command


def test_together_they_all_stand_in_the_script() -> None:
    script = make_conditions(tuple(VARIATIONS), ("a.deb",), 1, 0).describe_build(["cd /tree"], ["make", "a b"])
    *before, command = script.splitlines()
    assert before[:3] == ["set -e", "umask 0077", "cd /tree"]
    assert {line.split("=")[0] for line in before[3:]} >= {"export TZ", "export LC_ALL", "export FAKETIME"}
    words = shlex.split(command)
    assert words[-2:] == ["make", "a b"] and {"setarch", "taskset"} <= set(words)
