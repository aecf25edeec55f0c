"""Recipe and settings become the text of debian/. Nothing is written to disk but compiled templates, where there is a
place for them: compiling takes longer than rendering.

Templates are looked up in the recipe's own debian/ folder, then in its style's folder, then in common/; the first one
wins, so a recipe overrides exactly the file it must. `NAME.j2` is rendered, other files are taken as they are. A
template called `package.X` is rendered once per binary package as `PACKAGE.X`. A file that renders to nothing is left
out.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.bccache import Bucket

from hapkg.config import Settings
from hapkg.control import BinaryName, Suite, fold_description
from hapkg.errors import RecipeError
from hapkg.recipe import Recipe

if TYPE_CHECKING:
    from hapkg.site import Site

_LICENSES = "licenses"
_BYTE_CODE = "__pycache__"
"""What Python leaves beside modules that tests import."""
_EXECUTABLE_MARK = b"#!"
_OPTIONS: Mapping[str, Any] = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
    "autoescape": False,  # the output is no markup
    "optimized": False,  # what is compiled must not hold what a filter once answered
}
_PLAIN_DOLLAR = re.compile(r"\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")


@dataclass(frozen=True, kw_only=True)
class DebianFolder:
    """The files of one debian/ folder: path below it and content. A file that starts with #! is executable."""

    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """sha256 over names and contents, whatever order they came in."""
        listing = [(path, hashlib.sha256(self.files[path]).hexdigest()) for path in sorted(self.files)]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()

    def write(self, target: Path) -> None:
        """Write the folder's files below target, which becomes debian/."""
        for path, content in self.files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o755 if content.startswith(_EXECUTABLE_MARK) else 0o644)


def render_debian(
    recipe: Recipe,
    settings: Settings,
    templates: Path,
    *,
    suite: Suite,
    version: str,
    key: str,
    versions: Mapping[BinaryName, str],
    compiled: Path | None = None,
) -> DebianFolder:
    """The debian/ folder of a recipe, without the patches that it does not carry.

    versions holds the exact version of every stack package that a meta-package pins. compiled is a folder for compiled
    templates, which the caller may remove.

    Raises RecipeError when a template is wrong or names something that does not exist.
    """
    own = recipe.folder / "debian"
    sources = _find_templates(own, templates / str(recipe.style), templates / "common")
    environment = _make_environment(templates, compiled)
    licenses = {name for p in recipe.copyright for name in p.license.replace(" or ", " and ").split(" and ")}
    values: dict[str, Any] = {
        "recipe": recipe,
        "prefix": settings.prefix,
        "package_prefix": settings.package_prefix,
        "cluster_user": settings.cluster_user,
        "cluster_group": settings.cluster_group,
        "maintainer": settings.maintainer,
        "origin": settings.origin,
        "suite": suite,
        "version": version,
        "key": key,
        "versions": versions,
        "licenses": sorted({*licenses, "GPL-3+"}),
    }
    site_files = render_site(recipe.site, settings, templates) if recipe.site else {}
    values["site_files"] = sorted(site_files)
    files: dict[str, bytes] = {}
    for path, source in sorted(sources.items()):
        if source.suffix != ".j2":
            files[path] = source.read_bytes()
            continue
        if path.startswith("package."):
            for package in recipe.packages:
                rendered = _render(environment, source, {**values, "package": package})
                files.setdefault(f"{package.package}.{path.removeprefix('package.')}", rendered)
        else:
            files[path] = _render(environment, source, values)
    if recipe.site:
        files.update({f"root{path}": content for path, content in site_files.items()})
    for patch in recipe.patches:
        files[f"patches/{patch.name}"] = (recipe.folder / "patches" / patch.name).read_bytes()
    if recipe.series:
        files["patches/series"] = "".join(f"{name}\n" for name in recipe.series).encode()
    return DebianFolder(files={path: content for path, content in files.items() if content.strip()})


def render_site(site: Site, settings: Settings, templates: Path) -> dict[str, bytes]:
    """The files of a site on each of its nodes, by absolute path: the same bytes for all of them.

    Raises RecipeError when a template is wrong.
    """
    from hapkg.site_facts import describe_site  # noqa: PLC0415 - most runs have no site
    from hapkg.site_tables import Logging  # noqa: PLC0415

    etc, environment = f"{settings.prefix}/etc", _make_environment(templates)
    base = {"site": site, "prefix": settings.prefix, "package": f"{settings.package_prefix}stack-site"}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        f"{etc}/corosync/corosync.conf": ("corosync.conf", {}),
        f"{etc}/ha-stack/cluster.crm": ("cluster.crm", {}),
    }
    if site.uses_dlm:
        wanted[f"{etc}/dlm/dlm.conf"] = ("dlm.conf", {})
    for resource in site.drbd:
        members = site.find_members(resource)
        wanted[f"{etc}/drbd.d/{resource.name}.res"] = ("drbd.res", {"resource": resource, "members": members})
    default = Logging()
    if (site.logging.facility, site.logging.file) != (default.facility, default.file):
        wanted["/etc/rsyslog.d/ha-stack-site.conf"] = ("rsyslog.conf", {})
    if site.logging.file != default.file:
        wanted["/etc/logrotate.d/ha-stack-site"] = ("logrotate", {})
    files = {
        path: _render(environment, templates / "site-files" / f"{name}.j2", {**base, **more}).rstrip() + b"\n"
        for path, (name, more) in sorted(wanted.items())
    }
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    facts = json.dumps({**describe_site(site), "files": digests}, indent=2)
    return {**files, f"{etc}/ha-stack/site.json": f"{facts}\n".encode()}


def _find_templates(*folders: Path) -> dict[str, Path]:
    """Which file renders each path of debian/: the first folder that has one wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder)
            if file.is_file() and path.parts[0] != _LICENSES and path.parent.name != _BYTE_CODE:
                found.setdefault(str(path).removesuffix(".j2"), file)
    return found


class _Compiled(jinja2.BytecodeCache):
    """Compiled templates in a folder: a file for each template, used while its text and its compiler are the same."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source_checksum(self, source: str) -> str:
        whole = json.dumps([source, _OPTIONS, jinja2.__version__])
        return hashlib.sha256(whole.encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError), (self._folder / bucket.key).open("rb") as stream:
            bucket.load_bytecode(stream)

    def dump_bytecode(self, bucket: Bucket) -> None:
        new = self._folder / f".new-{bucket.key}-{os.getpid()}-{threading.get_ident()}"
        with contextlib.suppress(OSError):  # where nothing can be written, that costs time alone
            self._folder.mkdir(exist_ok=True)
            new.write_bytes(bucket.bytecode_to_string())
            new.replace(self._folder / bucket.key)


@functools.cache
def _make_environment(templates: Path, compiled: Path | None = None) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_Compiled(compiled) if compiled else None,
        **_OPTIONS,
    )
    environment.filters["fold_description"] = fold_description
    environment.filters["rfc5322"] = format_datetime
    environment.filters["make_word"] = make_word
    environment.filters["crm_value"] = lambda value: str(value).lower() if isinstance(value, bool) else value
    environment.filters["drbd_value"] = lambda value: ("yes" if value else "no") if isinstance(value, bool) else value
    environment.filters["drbd_address"] = lambda address: f"ipv6 [{address}]" if ":" in address else address
    return environment


def make_word(text: str) -> str:
    """One shell word inside a makefile's recipe line, taken as it stands.

    Only $NAME and ${NAME} stay variables of the environment of exports.sh; any other $ is a dollar sign.
    """
    quoted = _PLAIN_DOLLAR.sub(r"\\$", re.sub(r'[\\"`]', r"\\\g<0>", text))
    return f'"{quoted.replace("$", "$$")}"'


@functools.cache
def _compile(environment: jinja2.Environment, source: Path, text: str) -> jinja2.Template:
    """Compiled once: most templates are common to all recipes, and compiling costs more than rendering."""
    if (memory := environment.bytecode_cache) is None:
        return environment.from_string(text)
    bucket = memory.get_bucket(environment, str(source), None, text)
    if bucket.code is None:
        bucket.code = environment.compile(text)
        memory.set_bucket(bucket)
    return environment.template_class.from_code(environment, bucket.code, environment.make_globals(None))


def _render(environment: jinja2.Environment, source: Path, values: Mapping[str, Any]) -> bytes:
    try:
        return _compile(environment, source, source.read_text("utf-8")).render(values).encode()
    except jinja2.TemplateNotFound as cause:
        raise RecipeError(
            f"{values['recipe'].source}: {source.name} needs debian-templates/{cause.name}, which does not exist",
            hint="a licence's text is a file in debian-templates/common/licenses/",
        ) from cause
    except jinja2.TemplateSyntaxError as cause:
        raise RecipeError(f"{source}, line {cause.lineno}: {cause.message}") from cause
    except jinja2.UndefinedError as cause:
        raise RecipeError(f"{source}: {cause.message}") from cause
    except UnicodeDecodeError as cause:
        raise RecipeError(f"{source} is not UTF-8 text", hint="a file without .j2 is copied as it is") from cause
    except Exception as cause:  # a template is a program: whatever it does wrong is its own fault
        raise RecipeError(f"{source}: {type(cause).__name__}: {cause}") from cause
