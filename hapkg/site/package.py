"""The package of a site: what its site file says becomes a source of the stack like any other.

It depends on the stack and pins none of it: it is built in seconds, and building it builds nothing else.
"""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime

from hapkg.recipe.model import CopyrightFiles, LintianOverride, Package, Recipe
from hapkg.recipe.settings import Project
from hapkg.recipe.style import SITE, Style
from hapkg.site.files import name_package, render_site
from hapkg.site.model import Site

_FIRST_NAMED = "2"
"""Version of all packages of sites since they are called after their clusters."""
_DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""A site file has no date, and what is built from it must not depend on the day."""


_CONFFILES = "What the site configures lies below the prefix, and an upgrade must ask before it changes that."


def _wrap(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 78) for paragraph in text.split("\n\n"))


def make_site_recipe(project: Project, site: Site, *, common: bool = True) -> Recipe:
    """The recipe of a site's package. Raises RecipeError when a template is wrong.

    With common there is an empty package beside it that has the common name and brings it: for nodes of a checkout with
    one cluster, and for those that were made when packages had no cluster's name.
    """
    settings = project.settings
    name, shared = name_package(settings, site.cluster.name), settings.site_package
    files = render_site(site, settings, project.templates)
    package = Package.model_construct(
        package=name,
        architecture="all",
        depends=(*(f"{settings.package_prefix}{part}" for part in site.parts), *site.debian_parts),
        # What had the common name before gives its files away. Packages of two clusters do not conflict: apt would
        # remove the one before the script of the other can refuse. Their files are the same: dpkg keeps them apart.
        provides=(f"{shared} (= ${{binary:Version}})",),
        breaks=(f"{shared} (<< {_FIRST_NAMED})",),
        replaces=(f"{shared} (<< {_FIRST_NAMED})",),
        outside_prefix=(
            *(path[1:] for path in files if path.startswith("/etc/")),
            *([f"usr/lib/tmpfiles.d/{name}.conf"] if site.mount_points else []),
        ),
        synopsis=f"configuration of the cluster {site.cluster.name}",
        description=_wrap(
            f"What the {len(site.nodes)} nodes of the cluster {site.cluster.name} have in common: the files of "
            "corosync, DLM and DRBD, and what pacemaker runs. The same package is for each of them, and for no other "
            "machine.\n\n"
            "The cluster's key is not in it: ha-stack keygen makes one on a node."
        ),
        lintian_overrides=(
            LintianOverride.model_construct(tag="non-etc-file-marked-as-conffile", context="*", reason=_CONFFILES),
        ),
    )
    bringing = Package.model_construct(
        package=shared,
        architecture="all",
        section="metapackages",
        depends=(f"{name} (= ${{binary:Version}})",),
        synopsis=f"configuration of the cluster {site.cluster.name}, by the common name",
        description=_wrap(
            f"Brings {name}. Nodes that were made before packages of sites had the names of their clusters are carried "
            "over by it."
        ),
    )
    return Recipe.model_construct(
        source=name,
        version=_FIRST_NAMED,
        style=Style(name=SITE, native=True),
        date=_DATE,
        section="admin",
        homepage="https://www.clusterlabs.org",
        copyright=(CopyrightFiles.model_construct(copyright=("2026 hapkg maintainers",), license="GPL-3+"),),
        packages=(package, bringing) if common else (package,),
        folder=project.templates[0] / SITE,
        values={"site": site, "site_files": sorted(files), "main": name},
        files={f"root{path}": content for path, content in files.items()},
    )
