"""Recipe and settings become the text of debian/. Nothing is written to disk but compiled templates, where there is a
place for them: compiling takes longer than rendering.

Templates are looked up in the recipe's own debian/ folder, then in its style's folder, then in common/, each of the
project before those that hapkg brings. The first one wins, so a recipe overrides exactly the file it must. `NAME.j2` is
rendered, other files are taken as they are. A template called `package.X` is rendered once per binary package as
`PACKAGE.X`. A file that renders to nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapkg.control import BinaryName, Suite
from hapkg.distribution import Distribution, read_debian
from hapkg.evidence.facts import SourceFacts
from hapkg.recipe import licenses
from hapkg.recipe.licenses import find_texts
from hapkg.recipe.model import Recipe
from hapkg.recipe.pedigree import tell_facts
from hapkg.recipe.settings import Settings, Templates
from hapkg.recipe.style import COMMON, STYLE_FILE

_BYTE_CODE = "__pycache__"
"""Folders that Python leaves beside modules that tests import."""
_EXECUTABLE_MARK = b"#!"
SBOMS = "sbom"
"""Folder of debian/ with a folder for each package, which has its SBOM: debhelper keeps the names of files."""
SBOM = "sbom.cdx.json"


@dataclass(frozen=True, kw_only=True)
class DebianFolder:
    """The files of one debian/ folder: path below it and content. A file that starts with #! is executable."""

    files: Mapping[str, bytes]
    facts: SourceFacts | None = None
    """Told by the SBOM of each package, which is written with the files; None: there are no SBOMs."""
    version: str = ""
    """The version that these have."""

    def write(self, target: Path) -> None:
        """Write the folder's files below target, which becomes debian/."""
        for path, content in {**self.files, **self.make_sboms()}.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o755 if content.startswith(_EXECUTABLE_MARK) else 0o644)

    def make_sboms(self) -> dict[str, bytes]:
        """SBOMs of the packages, and the lists by which debhelper installs them as documentation."""
        if self.facts is None:
            return {}
        from hapkg.evidence.package_sbom import write_package_sbom  # noqa: PLC0415 - CycloneDX takes time, and plans need none

        made: dict[str, bytes] = {}
        for package in self.facts.packages:
            sbom, listed = f"{SBOMS}/{package.name}/{SBOM}", f"{package.name}.docs"
            made[sbom] = write_package_sbom(self.facts, package, self.version)
            made[listed] = self.files.get(listed, b"") + f"debian/{sbom}\n".encode()
        return made


def render_debian(
    recipe: Recipe,
    settings: Settings,
    templates: Templates,
    *,
    suite: Suite,
    version: str,
    key: str,
    versions: Mapping[BinaryName, str],
    components: Iterable[Recipe] = (),
    distribution: Distribution | None = None,
    compiled: Path | None = None,
) -> DebianFolder:
    """The debian/ folder of a recipe, without the patches that it does not carry.

    versions holds the exact version of every stack package that a meta-package pins, components the recipes of these
    packages. distribution is the suite's; without one, SBOMs name none and the rest is Debian's. compiled is a folder
    for compiled templates, which the caller may remove.

    Raises RecipeError when a template is wrong or names something that does not exist.
    """
    values: dict[str, Any] = {
        "recipe": recipe,
        "prefix": settings.prefix,
        "package_prefix": settings.package_prefix,
        "cluster_user": settings.cluster_user,
        "cluster_group": settings.cluster_group,
        "maintainer": settings.maintainer,
        "build_vendor": settings.build_vendor,
        "origin": settings.origin,
        "refuse_beside": settings.refuse_beside,
        "suite": suite,
        "distribution": distribution or read_debian(),
        "version": version,
        "key": key,
        "versions": versions,
        "components": [_describe(component) for component in components],
        "licenses": (names := _list_licenses(recipe)),
        "license_texts": find_texts(names, recipe.folder / "debian" / licenses.FOLDER, templates),
        **recipe.values,
    }
    files = {**_render_templates(recipe, templates, compiled, values), **recipe.files}
    if vendor := settings.build_vendor:
        files |= {"origins/debian": b"Vendor: Debian\n"}
        files |= {f"origins/{vendor.lower()}": f"Vendor: {vendor}\nParent: Debian\n".encode()}
    for patch in recipe.patches:
        files[f"patches/{patch.name}"] = (recipe.folder / "patches" / patch.name).read_bytes()
    if recipe.series:
        files["patches/series"] = "".join(f"{name}\n" for name in recipe.series).encode()
    return DebianFolder(
        files={path: content for path, content in files.items() if content.strip()},
        facts=tell_facts(recipe, settings, distribution.name_release(suite) if distribution else ""),
        version=version,
    )


def _describe(recipe: Recipe) -> dict[str, Any]:
    """A component of the stack as a node tells it: release and what was known of its holes."""
    return {
        "source": recipe.source,
        "version": recipe.version,
        "date": recipe.date.date().isoformat(),
        "closed": sorted({id_ for patch in (*recipe.remote_patches, *recipe.patches) for id_ in patch.fixes}),
        "decided": [{"id": hole.id, "status": str(hole.status), "why": hole.why} for hole in recipe.advisories],
    }


def _list_licenses(recipe: Recipe) -> list[str]:
    """Names of all licences that debian/copyright quotes: those of the recipe, and that of the packaging."""
    expressions = (paragraph.license.replace(" or ", " and ") for paragraph in recipe.copyright)
    return sorted({name for expression in expressions for name in expression.split(" and ")} | {"GPL-3+"})


def _render_templates(
    recipe: Recipe, templates: Templates, compiled: Path | None, values: Mapping[str, Any]
) -> dict[str, bytes]:
    """Files of debian/ by path: templates rendered, other files as they are."""
    from hapkg.recipe.rendering import make_debian_environment, render  # noqa: PLC0415 - jinja2 takes time, and few commands render

    environment = make_debian_environment(templates, compiled)
    kinds = [folder / kind for kind in (recipe.style.name, COMMON) for folder in templates]
    sources = _find_templates(recipe.folder / "debian", *kinds)
    files: dict[str, bytes] = {}
    for path, source in sorted(sources.items()):
        if source.suffix != ".j2":
            files[path] = source.read_bytes()
        elif path.startswith("package."):
            for package in recipe.packages:
                rendered = render(environment, source, {**values, "package": package})
                files.setdefault(f"{package.package}.{path.removeprefix('package.')}", rendered)
        else:
            files[path] = render(environment, source, values)
    return files


def _find_templates(*folders: Path) -> dict[str, Path]:
    """The file that renders each path of debian/: the first folder that has one wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            path = file.relative_to(folder)
            kept = path.parts[0] != licenses.FOLDER and path.parent.name != _BYTE_CODE and str(path) != STYLE_FILE
            if file.is_file() and kept:
                found.setdefault(str(path).removesuffix(".j2"), file)
    return found
