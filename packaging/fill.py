"""Write the project that builds hapkg's own package: its source distribution, and the recipe that names it.

    .venv/bin/python packaging/fill.py FOLDER

FOLDER is made, or what it holds of an earlier run is written anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"


def main() -> None:
    """Pack this checkout, and fill in the recipe."""
    folder = Path(sys.argv[1]).absolute()
    shutil.copytree(CHECKOUT / "packaging", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py"))
    argv = [sys.executable, "-c", BUILD, str(folder)]
    told = subprocess.run(argv, cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True).stdout
    tarball = folder / told.splitlines()[-1]
    version = tarball.name.removeprefix("hapkg-").removesuffix(".tar.gz")
    date = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or _read_date()), UTC)
    values = {
        "VERSION": version,
        "DATE": f"{date:%Y-%m-%dT%H:%M:%SZ}",
        "URL": tarball.as_uri(),
        "SHA256": hashlib.sha256(tarball.read_bytes()).hexdigest(),
    }
    template = folder / "recipes/tool/recipe.toml.in"
    text = template.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    template.with_suffix("").write_text(text)
    template.unlink()
    print(f"{folder}: hapkg {version}, sha256 {values['SHA256']}")


def _read_date() -> str:
    """Seconds since 1970 of the checkout's last commit."""
    argv = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
