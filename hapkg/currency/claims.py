"""Claims of a publish about its packages: the verdicts of `hapkg audit` as VEX, and rebuilds on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

from hapkg.build.context import BuildContext
from hapkg.build.store import Artifact
from hapkg.control import SourceName
from hapkg.currency.audit import Assessment, Verdict, audit
from hapkg.currency.known_holes import recall_holes
from hapkg.evidence.purl import name_package
from hapkg.evidence.rebuilt import read_rebuilt
from hapkg.evidence.vex import VexStatement, VexStatus
from hapkg.recipe.pedigree import tell_facts
from hapkg.repository.documents.suite import Claims

_STATUSES = {
    Verdict.PATCHED: VexStatus.FIXED,
    Verdict.FIXED: VexStatus.FIXED,
    Verdict.NOT_AFFECTED: VexStatus.NOT_AFFECTED,
    Verdict.OPEN: VexStatus.AFFECTED,
}


def make_claims(context: BuildContext, artifacts: Sequence[Artifact]) -> Claims:
    """Claims about these builds, by what was heard of holes last and by the records of rebuilds. Asks nobody."""
    known = recall_holes(context.store.state)
    recipes = [context.recipes[artifact.source] for artifact in artifacts]
    findings = audit(recipes, known.data, context.suite, known.osv)
    products = {artifact.source: frozenset(_name_products(context, artifact)) for artifact in artifacts}
    rebuilds = {}
    for artifact in artifacts:
        for name, digest in artifact.files.items():
            if name.endswith(".deb") and (told := read_rebuilt(context.store.state, digest)):
                rebuilds[digest] = {
                    "identical": told.identical,
                    "rebuilds": [
                        {key: value for key, value in asdict(one).items() if key != "report"} for one in told.rebuilds
                    ],
                }
    return Claims(vex=tuple(state_verdicts(findings, products)), rebuilds=rebuilds)


def state_verdicts(
    findings: Iterable[Assessment], products: Mapping[SourceName, frozenset[str]]
) -> Iterator[VexStatement]:
    """Verdicts as statements about the packages of each source, in the same words."""
    for finding in findings:
        if products.get(finding.source):
            yield VexStatement(
                hole=finding.id,
                products=products[finding.source],
                status=_STATUSES[finding.verdict],
                why=f"patch {finding.why}" if finding.verdict is Verdict.PATCHED else finding.why,
                justification=finding.justification,
            )


def _name_products(context: BuildContext, artifact: Artifact) -> Iterator[str]:
    """Package URLs of the packages of a build, as its SBOM has them."""
    distribution = context.distribution.name_release(context.suite)
    facts = tell_facts(context.recipes[artifact.source], context.project.settings, distribution)
    for name in artifact.packages:
        (deb,) = [file for file in artifact.paths(".deb") if file.name.startswith(f"{name}_")]
        yield name_package(facts, name, artifact.version, deb.stem.rpartition("_")[2])
