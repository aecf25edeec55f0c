"""Options, signals and processes of the tests, and what tests of the repository start from."""

from __future__ import annotations

import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hapkg.control import SourceName
from hapkg.repository.change import Publication, PublishTarget
from hapkg.repository.keys import signing
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.publishing import publish
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import Upload
from tests.support.packages import (
    BOOKWORM,
    IDENTITY,
    Client,
    make_deb,
    make_upload,
    run,
)

_RUN = pytest.StashKey[Path]()
_ORDER = (
    "integration/chroot/test_build",
    "integration/repository/test_others",
    "integration/chroot",
    "integration",
    "unit",
)
"""Files that processes take first: the miniature that others wait for, meanwhile something long, and so on."""


def _on_signal(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    """Reset signals, and name the folder that all processes of this run share.

    What a script runs in its background ignores Ctrl-C, and would pass that on to all that the tests start.
    SIGTERM ends as Ctrl-C does: chroots, accounts and folders are removed whatever ends the tests.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _on_signal)
    worker = getattr(config, "workerinput", None)
    config.stash[_RUN] = Path(worker["run"]) if worker else Path("/var/tmp", f"hapkg-run-{uuid.uuid4().hex[:8]}")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist where the folder of this run is."""
    node.workerinput["run"] = str(node.config.stash[_RUN])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder of this run, when all its processes have ended."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[_RUN], ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests into the order in which several processes should take them."""

    def rank(item: pytest.Item) -> int:
        path = str(item.path.relative_to(Path(__file__).parent))
        return next((number for number, start in enumerate(_ORDER) if path.startswith(start)), len(_ORDER))

    if hasattr(config, "workerinput"):
        items.sort(key=rank)


def pytest_addoption(parser: pytest.Parser) -> None:
    """pytest --golden writes golden files anew; git diff shows what changed."""
    parser.addoption("--golden", action="store_true", help="write the golden files of tests/unit/recipe/golden anew")


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Path:
    """A folder for what is made once in a run and read by all its processes; make_once makes what is in it."""
    return pytestconfig.stash[_RUN]


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyChoice:
    """hapkg's own key, made once for all tests."""
    choice = KeyChoice(home=tmp_path_factory.mktemp("keys") / "own")
    signing.find_key(choice, owner=IDENTITY.key_owner)
    return choice


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Upload]:
    """The upload of revision N, built once."""
    folder = tmp_path_factory.mktemp("builds")
    made: dict[int, Upload] = {}

    def find(number: int) -> Upload:
        if number not in made:
            made[number] = make_upload(folder / str(number), f"1.2-{number}+ha12.0", key=f"key{number}")
        return made[number]

    return find


@pytest.fixture
def stacks(tmp_path: Path) -> Callable[[int], Upload]:
    """An upload of ha-stack alone, of revision N, for tests that publish often."""

    def make(number: int) -> Upload:
        folder = tmp_path / "stacks"
        folder.mkdir(exist_ok=True)
        deb = folder / f"ha-stack_1.2-{number}+ha12.0_all.deb"
        if not deb.exists():
            make_deb(folder, "ha-stack", f"1.2-{number}+ha12.0")
        return Upload(suite=BOOKWORM, source=SourceName("ha-stack"), files=(deb,))

    return make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the repository goes; a blank and a percent sign are allowed in its path."""
    return tmp_path / "a% repository" / "apt"


@pytest.fixture
def issue(root: Path, key: KeyChoice) -> Callable[..., Publication]:
    """publish() into root with the usual identity and key."""

    def issue(
        *uploads: Upload, identity: Identity = IDENTITY, choice: KeyChoice = key, url: str = "", pocket: str = ""
    ) -> Publication:
        return publish(PublishTarget(root=root, identity=identity, choice=choice, url=url), uploads, pocket=pocket)

    return issue


@pytest.fixture
def client(tmp_path: Path) -> Callable[[str], Client]:
    """Makes clients from the text of a .sources file."""
    count = iter(range(1000))
    return lambda sources: Client(tmp_path / f"client{next(count)}", sources)


@pytest.fixture
def gnupg(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Makes keys with gpg itself; the file with the secret key."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        monkeypatch.setenv("GNUPGHOME", home)
        count = iter(range(100))

        def make(
            algorithm: str, *options: str, usage: str = "sign", expires: str = "never", passphrase: str = ""
        ) -> Path:
            name = f"u{next(count)}@user.invalid"
            loop = ("--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", passphrase)
            run("gpg", *loop, *options, "--quick-generate-key", name, algorithm, usage, expires)
            file = Path(home) / f"{name}.gpg"
            run("gpg", *loop, "--output", file, "--export-secret-keys", name)
            return file

        yield make
        run("gpgconf", "--kill", "all")
