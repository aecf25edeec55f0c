"""The package of a site: what its site file says becomes a source of the stack like any other.

It depends on the stack and pins none of it: it is built in seconds, and building it builds nothing else.
"""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime

from hapkg.recipe.model import CopyrightFiles, LintianOverride, Package, Recipe
from hapkg.recipe.settings import Project
from hapkg.recipe.style import SITE, Style
from hapkg.site.files import render_site
from hapkg.site.model import Site

_DATE = datetime(2026, 1, 1, tzinfo=UTC)
"""A site file has no date, and what is built from it must not depend on the day."""


_CONFFILES = "What the site configures lies below the prefix, and an upgrade must ask before it changes that."


def _wrap(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 78) for paragraph in text.split("\n\n"))


def make_site_recipe(project: Project, site: Site) -> Recipe:
    """The recipe of a site's package. Raises RecipeError when a template is wrong."""
    name = project.settings.site_package
    stack = f"{project.settings.package_prefix}stack"
    files = render_site(site, project.settings, project.templates)
    package = Package.model_construct(
        package=name,
        architecture="all",
        depends=(stack,),
        outside_prefix=(
            *(path[1:] for path in files if path.startswith("/etc/")),
            *(["usr/lib/tmpfiles.d/ha-stack-site.conf"] if site.gfs2 else []),
        ),
        synopsis=f"configuration of the cluster {site.cluster.name}",
        description=_wrap(
            f"What the {len(site.nodes)} nodes of the cluster {site.cluster.name} have in common: the files of "
            "corosync, DLM and DRBD, and what pacemaker runs. The same package is for each of them.\n\n"
            "The cluster's key is not in it: ha-stack keygen makes one on a node."
        ),
        lintian_overrides=(
            LintianOverride.model_construct(tag="non-etc-file-marked-as-conffile", context="*", reason=_CONFFILES),
        ),
    )
    return Recipe.model_construct(
        source=name,
        version="1",
        style=Style(name=SITE, native=True),
        date=_DATE,
        section="admin",
        homepage="https://www.clusterlabs.org",
        copyright=(CopyrightFiles.model_construct(copyright=("2026 hapkg maintainers",), license="GPL-3+"),),
        packages=(package,),
        folder=project.templates / SITE,
        values={"site": site, "site_files": sorted(files)},
        files={f"root{path}": content for path, content in files.items()},
    )
