"""Two releases side by side."""

from __future__ import annotations

from pathlib import Path

from hapkg.currency.release_review import Change, compare_sets, list_files, list_switches


def test_files_come_and_go(tmp_path: Path) -> None:
    for name in ("old/a", "old/sub/b", "new/a", "new/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    change = compare_sets(list_files(tmp_path / "old"), list_files(tmp_path / "new"))
    assert change == Change(new=("c",), gone=("sub/b",))


def test_switches_are_those_of_upstream_not_of_libtool(tmp_path: Path) -> None:
    (tmp_path / "configure.ac").write_text("AC_ARG_ENABLE([user-flags], x)\nAC_ARG_WITH(socket_dir,\nx)\n")
    (tmp_path / "m4").mkdir()
    (tmp_path / "m4/own.m4").write_text("AC_ARG_ENABLE(\n  [ansi], x)")
    (tmp_path / "m4/libtool.m4").write_text("AC_ARG_WITH([pic], x)")
    (tmp_path / "meson_options.txt").write_text("option('docs', type: 'boolean')\n# option('no')\n")
    (tmp_path / "m4/loop.m4").symlink_to("/dev/zero")
    assert list_switches(tmp_path) == {"--enable-user-flags", "--with-socket-dir", "--enable-ansi", "-Ddocs"}
