"""The rules of the house: which room knows which, who may speak, who knows a library; and the linters, as tests."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg import errors
from hapkg.errors import HapkgError
from tests.support.samples import CHECKOUT

LIBRARIES = {
    "boto3": {"repository.remote.bucket_client"},
    "botocore": {"repository.remote.bucket_client"},
    "cyclonedx": {"evidence.package_sbom", "evidence.source_sbom"},
    "debian": {"control"},
    "distributed": {"farm.client", "farm.coordinator", "farm.local", "farm.worker"},
    "jinja2": {"jinja", "recipe.rendering"},
    "packageurl": {"evidence.package_sbom", "evidence.provenance", "evidence.purl", "evidence.source_sbom"},
    "pydantic": {
        "records",
        "tables",
        "chroot.base_lock",
        "distribution",
        "recipe.settings",
        "recipe.style",
        "recipe.model",
        "recipe.upstream",
        "source.lockfile",
        "site.booth",
        "site.drbd",
        "site.fencing",
        "site.importing.pacemaker",
        "site.layout",
        "site.model",
        "site.quorum",
        "site.service",
        "site.tables",
        "site.words",
    },
    "rich": {"cli.output"},
    "sh": {"programs.launch"},
    "tomlkit": {"recipe.recipe_text"},
    "typer": {"cli"},
}
"""The modules that know each library; cli stands for any module of the room."""
ROOMS = (
    "recipe",
    "source",
    "chroot",
    "build",
    "cache",
    "farm",
    "repository",
    "site",
    "draft",
    "currency",
    "rebuild",
    "prove",
    "evidence",
    "verification",
    "cli",
    "apt",
    "programs",
)
OF_THE_FOUNDATION = ("apt", "programs")
"""Rooms that every other one may know."""
MODULES = {
    ".".join(file.relative_to(CHECKOUT / "hapkg").with_suffix("").parts): file
    for file in (CHECKOUT / "hapkg").rglob("*.py")
    if "data" not in file.parts and file.name != "__init__.py"
}
ROOM_FILES = [file for file in sorted((CHECKOUT / "hapkg").rglob("__init__.py")) if "data" not in file.parts[-2:]][1:]
"""Of rooms and of rooms in them; the first is the package's own."""
WORDS_OF_ROOMS = {
    "recipes": "recipe",
    "chroots": "chroot",
    "builds": "build",
    "repositories": "repository",
    "the site": "site",
    "sites": "site",
    "virtual machines": "prove",
    "the command line": "cli",
}
TESTS = CHECKOUT / "tests"
TESTS_OF_NO_MODULE = {
    "recipe.test_golden",
    "recipe.test_schema",
    "site.test_cases",
    "test_architecture",
    "test_foreign_bytes",
    "test_hastack",
    "test_hastack_check",
    "test_hastack_installed",
    "test_hastack_members",
    "test_hostile_state",
    "test_node_tested",
}
"""The rules of the house, the command of the nodes and what runs there, records of every module, the real recipes."""
UNCLEAR = re.compile(r"(What|Whether|Let|The same)\b")
"""How no docstring begins: it could not be read alone."""
ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, HapkgError)}
QUIET = sorted(module for module in MODULES if not module.startswith("cli."))
"""The modules that may not print, nor decide how the program ends."""


@functools.cache
def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it."""
    for node in ast.walk(parse(MODULES[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_calls(module: str) -> Iterator[str]:
    """Calls and raised errors of a module, as they are written."""
    for node in ast.walk(parse(MODULES[module])):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield ast.unparse(node.exc)


def run_python(*argv: str) -> tuple[int, str]:
    """Status and output of a Python module's command, run in the checkout."""
    done = subprocess.run([sys.executable, *argv], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_rooms_import_one_way() -> None:
    status, output = run_python("-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache")
    assert status == 0, output


def test_the_picture_of_the_architecture_page_shows_the_imports() -> None:
    page = (CHECKOUT / "docs/architecture.md").read_text("utf-8")
    picture = page.partition("```mermaid")[2].partition("```")[0]
    drawn = {
        (room, other.strip())
        for room, _, others in (line.strip().partition(" --> ") for line in picture.splitlines() if "-->" in line)
        for other in others.split("&")
    }
    imported = {
        (module.split(".")[0], name.split(".")[1])
        for module in MODULES
        for name in imports(module)
        if name.startswith("hapkg.") and {name.split(".")[1], module.split(".")[0]} <= {*ROOMS} - {*OF_THE_FOUNDATION}
    }
    assert drawn == {(room, other) for room, other in imported if room != other}


def test_the_architecture_page_names_files_that_are_there() -> None:
    page = (CHECKOUT / "docs/architecture.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_/]+\.py)`", page))
    rows = dict(re.findall(r"^\| `([a-z]+)/` \|[^|]*\| ([^|]*)\|$", page, re.MULTILINE))
    inside = {f"{room}/{file}" for room, files in rows.items() for file in re.findall(r"`([a-z_]+\.py)`", files)}
    assert rows.keys() == set(ROOMS)
    plain = {name for name in named if "/" in name or not any(path.endswith(f"/{name}") for path in inside)}
    paths = {CHECKOUT / name if name.startswith("tests/") else CHECKOUT / "hapkg" / name for name in plain | inside}
    assert sorted(str(path) for path in paths if not path.exists()) == []


@pytest.mark.parametrize("file", ROOM_FILES, ids=lambda file: str(file.parent.relative_to(CHECKOUT)))
def test_a_room_says_what_it_knows_and_must_not_know(file: Path) -> None:
    (only,) = parse(file).body
    told = ast.get_docstring(parse(file))
    assert isinstance(only, ast.Expr), "a room is imported for its modules: its __init__ imports nothing"
    assert told and re.search(r"^Knows ", told, re.MULTILINE), told


def test_every_room_is_installed() -> None:
    setuptools = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    rooms = {".".join(file.parent.relative_to(CHECKOUT).parts) for file in ROOM_FILES}
    assert set(setuptools["packages"]) == {"hapkg", *rooms, *setuptools["package-dir"]}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_room_that_it_must_not_know(room: str) -> None:
    told = " ".join((ast.get_docstring(parse(CHECKOUT / "hapkg" / room / "__init__.py")) or "").split())
    unknown = re.split("[.:]", told.partition("ust not know")[2])[0]
    shunned = {other for word, other in WORDS_OF_ROOMS.items() if word in unknown}
    known = {
        name.split(".")[1]
        for module in MODULES
        if module.startswith(f"{room}.")
        for name in imports(module)
        if name.startswith("hapkg.")
    }
    assert known.isdisjoint(shunned)


@pytest.mark.parametrize("folder", [file.parent for file in ROOM_FILES], ids=lambda folder: folder.name)
def test_a_room_has_at_most_some_twenty_modules(folder: Path) -> None:
    assert len([file for file in MODULES.values() if file.parent == folder]) <= 20


def test_each_library_is_known_in_its_module_alone() -> None:
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for name in imports(module):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != "hapkg":
                found.setdefault(top, set()).add("cli" if module.startswith("cli.") and top == "typer" else module)
    assert found == LIBRARIES


def test_processes_have_one_door() -> None:
    pattern = r"(subprocess|multiprocessing|pty)\b|os\.(system|popen|exec|spawn|posix_spawn|fork)"
    used = {module: [*imports(module), *find_calls(module)] for module in MODULES}
    assert {module for module, names in used.items() if any(re.match(pattern, name) for name in names)} == {
        "programs.launch",
        "programs.process",
    }


@pytest.mark.parametrize("module", QUIET)
def test_only_the_command_line_prints_and_exits(module: str) -> None:
    forbidden = ("print", "input", "exit", "quit", "sys.exit", "os._exit", "SystemExit")
    calls = [call.partition("(")[0] for call in find_calls(module)]
    assert [call for call in calls if call in forbidden] == []
    streams = ("sys.stdout", "sys.stderr", "sys.argv")
    assert [node for node in ast.walk(parse(MODULES[module])) if ast.unparse(node) in streams] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [module for module in MODULES if not ast.get_docstring(parse(MODULES[module]))] == []


def find_documented(module: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of a module and of its public classes, functions and methods."""
    tree = parse(MODULES[module])
    yield module, ast.get_docstring(tree) or ""
    definitions = (ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")]
    while nodes:
        node = nodes.pop()
        yield f"{module}.{node.name}", ast.get_docstring(node) or ""
        if isinstance(node, ast.ClassDef):
            nodes += [part for part in node.body if isinstance(part, definitions) and not part.name.startswith("_")]


@pytest.mark.parametrize("room", ["foundation", *ROOMS])
def test_docstrings_can_be_read_alone(room: str) -> None:
    modules = [module for module in MODULES if (module.split(".")[0] if "." in module else "foundation") == room]
    unclear = [name for module in modules for name, text in find_documented(module) if UNCLEAR.match(text)]
    assert unclear == [], "an imperative or a noun, please"


@pytest.mark.parametrize("folder", ["hapkg", "recipes", "tests", "benchmarks"])
def test_no_docstring_of_the_repository_needs_its_surroundings(folder: str) -> None:
    unclear = [
        f"{file.relative_to(CHECKOUT)}:{number}"
        for file in sorted((CHECKOUT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if (start := re.match(r'\s*r?"""', line)) and UNCLEAR.match(line, start.end())
    ]
    assert unclear == [], "an imperative or a noun, please"


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module, file in MODULES.items():
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_tests_mirror_the_rooms() -> None:
    for kind in ("unit", "integration"):
        folders = {file.name for file in (TESTS / kind).iterdir() if (file / "__init__.py").exists()}
        assert folders <= set(ROOMS), kind
    assert {file.parent for file in TESTS.rglob("test_*.py")} & {
        TESTS,
        TESTS / "integration",
        TESTS / "system",
    } == set()


def test_a_unit_test_is_named_after_its_module() -> None:
    found = {
        ".".join(file.relative_to(TESTS / "unit").with_suffix("").parts) for file in TESTS.glob("unit/**/test_*.py")
    }
    assert found >= TESTS_OF_NO_MODULE, "an exception that there is no longer"
    subjects = {name: name.rpartition("test_")[0] + name.rpartition("test_")[2] for name in found - TESTS_OF_NO_MODULE}
    assert {name for name, module in subjects.items() if module not in MODULES} == set()


@pytest.mark.parametrize(
    "argv", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids=["rules", "format", "types"]
)
def test_the_linters_agree(argv: tuple[str, ...]) -> None:
    status, output = run_python("-m", *argv)
    assert status == 0, output


def test_hooks_and_make_lint_check_the_same() -> None:
    hooks = re.findall(
        r"^ +entry: make (lint-[a-z]+)$", (CHECKOUT / ".pre-commit-config.yaml").read_text(), re.MULTILINE
    )
    (needs,) = re.findall(r"^lint: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert hooks == needs.split()


def test_decisions_are_numbered_without_holes_and_found_by_their_links() -> None:
    files = sorted((CHECKOUT / "docs/decisions").glob("*.md"))
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    heads = [file.read_text().split(maxsplit=2)[1] for file in files]
    assert heads == [f"{number}." for number in range(1, len(files) + 1)]
    texts = [*CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("hapkg/**/*.py"), *CHECKOUT.glob("recipes/*/recipe.toml")]
    found = {name for text in texts for name in re.findall(r"decisions/([0-9][\w.-]*[\w-])", text.read_text("utf-8"))}
    assert {name for name in found if not any(file.name.startswith(name) for file in files)} == set()


@pytest.mark.parametrize("module", QUIET)
def test_a_public_function_names_the_errors_that_it_raises(module: str) -> None:
    """Errors of what it calls are named where they matter; its own always, but for those of a caller's mistake."""
    silent = []
    for node in ast.walk(parse(MODULES[module])):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        told = ast.get_docstring(node) or ""
        raised = {
            ast.unparse(one.exc.func)
            for one in ast.walk(node)
            if isinstance(one, ast.Raise) and isinstance(one.exc, ast.Call)
        }
        own = {name for name in raised if name in ERRORS and name not in told}
        if told and own and not re.search(r"\b[Rr]aises?\b|^See ", told):
            silent.append(f"{node.name} raises {', '.join(sorted(own))}")
    assert silent == []
