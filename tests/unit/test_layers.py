"""Which module may know which: the layers of docs, read out of the import statements; and the linters, as tests."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.unit.samples import CHECKOUT

LAYERS = (
    ("errors", "life", "markup", "memory", "options", "picture"),
    ("checkout", "command", "control", "dep3", "place", "version"),
    ("config", "content", "disk", "jobserver", "machine", "mirror", "phases", "twin"),
    ("answers",),
    ("conversation", "gpg"),
    ("bucket", "client", "faults", "records", "rsync", "signing", "site_tables", "store", "upstream"),
    ("keys", "outcome", "remote", "site"),
    ("recipe", "site_facts"),
    ("automake", "graph", "indexes", "meson_language", "rendering", "signature"),
    ("ftparchive", "meson", "schedule", "template", "vcs"),
    ("archive", "history", "merging", "plan", "site_package"),
    ("upload",),
    ("keyring", "page", "staging"),
    ("origin", "repository"),
    ("lock", "release", "retention", "source", "verify"),
    ("identity",),
    ("base", "draft"),
    ("chroot",),
    ("acks", "guest_agent", "guest_service", "initrd", "monitor"),
    ("guest_image",),
    ("guest",),
    ("proof",),
    ("looks", "proof_report", "prove"),
    ("formation", "writing"),
    ("changes", "losses"),
    ("story",),
    ("resolve",),
    ("health", "kernel", "layer", "settled"),
    ("ccache", "workshop"),
    ("build", "upkeep"),
    ("making", "site_check"),
    ("engine",),
    ("pipeline",),
    ("doctor", "times"),
    ("show",),
    ("context",),
    ("chroot_commands", "plan_commands", "prove_commands", "repo_commands", "site_commands"),
    ("running",),
    ("build_commands", "key_commands", "publish_commands", "upkeep_commands"),
    ("cli",),
)
"""From the lowest to the highest: a module imports from lower layers alone, never from its own."""
COMMANDS = {module for layer in LAYERS for module in layer if module.endswith("_commands")}
"""The modules that the command line imports when one of their commands is meant."""
LIBRARIES = {
    "boto3": {"bucket"},
    "botocore": {"bucket"},
    "debian": {"control"},
    "jinja2": {"markup", "rendering"},
    "pydantic": {"config", "lock", "recipe", "site", "site_tables", "upstream"},
    "rich": {"show"},
    "sh": {"command"},
    "typer": {"cli", "options", *COMMANDS},
}
"""The modules that know each library."""
SPEAKING = {"cli", "life", "show", *COMMANDS}
"""The modules that may print and decide how the program ends."""
MODULES = {file.stem: file for file in (CHECKOUT / "hapkg").glob("*.py") if file.stem != "__init__"}
RANKS = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}


@functools.cache
def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in it."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_own(module: str) -> set[str]:
    """The modules of hapkg that a module imports."""
    return {name.split(".")[1] for name in imports(module) if name.startswith("hapkg.")} & MODULES.keys()


def find_calls(module: str) -> Iterator[str]:
    """What a module calls or raises, as it is written."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield ast.unparse(node.exc)


def test_every_module_has_one_layer() -> None:
    assert sorted(module for layer in LAYERS for module in layer) == sorted(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_lower_layers_alone(module: str) -> None:
    assert {other for other in find_own(module) if RANKS[other] >= RANKS[module]} == set()


def test_each_library_is_known_in_its_module_alone() -> None:
    found: dict[str, set[str]] = {}
    for module in MODULES:
        for name in imports(module):
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != "hapkg":
                found.setdefault(top, set()).add(module)
    assert found == LIBRARIES


@pytest.mark.parametrize(
    ("pattern", "door"),
    [
        (r"(subprocess|multiprocessing|pty)\b|os\.(system|popen|exec|spawn|posix_spawn)", "command"),
        (r"os\.fork", "twin"),
    ],
    ids=["programs", "copies"],
)
def test_processes_have_one_door(pattern: str, door: str) -> None:
    used = {module: [*imports(module), *find_calls(module)] for module in MODULES}
    assert {module for module, names in used.items() if any(re.match(pattern, name) for name in names)} == {door}


@pytest.mark.parametrize("module", sorted(MODULES.keys() - SPEAKING))
def test_only_the_surface_prints_and_exits(module: str) -> None:
    forbidden = ("print", "input", "exit", "quit", "sys.exit", "os._exit", "SystemExit")
    calls = [call.partition("(")[0] for call in find_calls(module)]
    assert [call for call in calls if call in forbidden] == (["os._exit"] if module == "twin" else [])
    streams = ("sys.stdout", "sys.stderr", "sys.argv")
    assert [node for node in ast.walk(parse(module)) if ast.unparse(node) in streams] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [module for module in MODULES if not ast.get_docstring(parse(module))] == []


@pytest.mark.parametrize(
    "argv", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids=["rules", "format", "types"]
)
def test_the_linters_agree(argv: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", *argv], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
