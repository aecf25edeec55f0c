"""Sources in Rust and Go that bring what they need in vendor/, really built: offline, the same bytes twice."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.chroot.test_build import read_content, read_runpaths
from tests.integration.chroot.test_styles import find_deb, run_installed
from tests.support.machine import SUITE, Done, Hapkg
from tests.support.miniature import Miniature, make_package

CRATE = {
    "Cargo.toml": '[package]\nname = "word"\nversion = "0.3.0"\nedition = "2021"\n',
    "src/lib.rs": 'pub fn word() -> &\'static str {\n    "ahoy"\n}\n',
    "configure.ac": "Nobody makes a configure of this one, or its checksum would not be right.\n",
}
CARGO = {
    "Cargo.toml": """\
[package]
name = "shout"
version = "1.1.0"
edition = "2021"
license = "MIT"
description = "Shout a word"

[features]
loud = []

[dependencies]
word = "0.3"
""",
    "src/main.rs": """\
fn say() -> String {
    if cfg!(feature = "loud") { word::word().to_uppercase() } else { word::word().to_string() }
}

fn main() {
    println!("{}", say());
}

#[test]
fn it_is_loud() {
    assert_eq!(say(), "AHOY");
}
""",
    **{f"vendor/word/{path}": text for path, text in CRATE.items()},
    "vendor/word/.cargo-checksum.json": json.dumps(
        {
            "files": {path: hashlib.sha256(text.encode()).hexdigest() for path, text in CRATE.items()},
            "package": "0" * 64,
        }
    ),
}
GO = {
    "go.mod": "module example.org/call\n\ngo 1.19\n\nrequire example.org/word v0.3.0\n",
    "go.sum": "",
    "main.go": """\
package main

// #include <zlib.h>
// #cgo LDFLAGS: -lz
import "C"

import (
	"fmt"

	"example.org/word"
)

func main() {
	fmt.Println(word.Word(), C.GoString(C.zlibVersion()) != "")
}
""",
    "main_test.go": """\
package main

import (
	"testing"

	"example.org/word"
)

func TestWord(t *testing.T) {
	if word.Word() != "ahoy" {
		t.Fatal(word.Word())
	}
}
""",
    "vendor/modules.txt": "# example.org/word v0.3.0\n## explicit; go 1.19\nexample.org/word\n",
    "vendor/example.org/word/word.go": 'package word\n\n// Word is one word.\nfunc Word() string { return "ahoy" }\n',
}


@pytest.fixture(scope="module")
def project(place: Path) -> Miniature:
    project = Miniature.create(place / "vendored", suite=SUITE)
    project.add(
        "shout",
        CARGO,
        version="1.1.0",
        style="cargo",
        build_depends=["cargo", "rustc"],
        configure=["--features=loud"],
        packages=[make_package("shout", ["bin/shout"])],
    )
    project.add(
        "call",
        GO,
        style="go",
        build_depends=["golang-go", "zlib1g-dev"],
        packages=[make_package("call", ["bin/call"])],
    )
    return project


@pytest.fixture(scope="module")
def built(hapkg: Hapkg, project: Miniature) -> Done:
    return hapkg.on(project.root).succeed("build-all", "--json")


@pytest.mark.parametrize(("name", "said"), [("shout", "AHOY\n"), ("call", "ahoy true\n")])
def test_a_vendored_source_is_built_and_runs(hapkg: Hapkg, built: Done, tmp_path: Path, name: str, said: str) -> None:
    outcome = built.outcomes[f"ha-{name}"]
    assert outcome["outcome"] == "built"
    log = Path(outcome["log"]).read_text()
    assert re.search(r"test result: ok. 1 passed|ok\s+example.org/call", log)
    deb = find_deb(hapkg, built, f"ha-{name}", f"ha-{name}")
    assert read_runpaths(deb, tmp_path) == {f"/opt/ha/bin/{name}": ["/opt/ha/lib"]}
    program = read_content(deb)[f"/opt/ha/bin/{name}"]
    assert b"/build/" not in program
    assert run_installed(deb, tmp_path / "root", name) == said


def test_they_are_position_independent_and_bound_at_their_start(hapkg: Hapkg, built: Done, tmp_path: Path) -> None:
    for name in ("shout", "call"):
        deb = find_deb(hapkg, built, f"ha-{name}", f"ha-{name}")
        subprocess.run(["dpkg-deb", "-x", deb, tmp_path / name], check=True)
        program = str(tmp_path / f"{name}/opt/ha/bin/{name}")
        argv = ["readelf", "--wide", "--file-header", "--dynamic", "--segments", program]
        told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        assert "DYN (Position-Independent Executable file)" in told
        assert "BIND_NOW" in told or re.search(r"FLAGS_1.*\bNOW\b", told)
        assert "GNU_RELRO" in told


def test_a_second_build_has_the_same_bytes(hapkg: Hapkg, built: Done, project: Miniature) -> None:
    def digest(done: Done) -> dict[str, str]:
        return {
            deb.name: hashlib.sha256(deb.read_bytes()).hexdigest()
            for source in ("ha-shout", "ha-call")
            for deb in hapkg.folder(done.outcomes[source]).glob("*.deb")
        }

    first = digest(built)
    own = hapkg.on(project.root)
    own.succeed("clean", "shout", "call")
    assert digest(own.succeed("build-all", "--json", "--jobs", "1")) == first


def test_a_source_without_its_vendor_folder_is_not_downloaded(hapkg: Hapkg, built: Done, tmp_path: Path) -> None:
    bare = Miniature.create(tmp_path / "bare", suite=SUITE)
    files = {path: text for path, text in CARGO.items() if not path.startswith("vendor/")}
    bare.add(
        "shout",
        files,
        version="1.1.0",
        style="cargo",
        build_depends=["cargo", "rustc"],
        packages=[make_package("shout", ["bin/shout"])],
    )
    done = hapkg.on(bare.root).run("build-all", "--json")
    assert done.status == 10
    assert "word" in Path(done.outcomes["ha-shout"]["log"]).read_text()
    shutil.rmtree(bare.root)
