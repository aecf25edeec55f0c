"""One proof from its machines to its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hapkg.errors import ProofError
from hapkg.prove.report import describe_proof, write_report
from hapkg.prove.runner import ProofStep, StepEnding, StepResult, run_steps
from hapkg.prove.testbed import Offer, make_scene, take_stock
from hapkg.prove.vm_image import GuestImage
from hapkg.site.model import Site


@dataclass(frozen=True, kw_only=True)
class ProofOptions:
    """How a proof is run."""

    accelerator: str
    """kvm or tcg."""
    began: datetime
    short: bool
    keep: bool
    """Keep the machines' disks in the result folder."""
    steps: tuple[ProofStep, ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Result of a proof."""

    data: dict[str, object]
    """Content of prove.json."""
    page: Path
    failed: StepResult | None


def run_proof(
    offer: Offer,
    site: Site,
    image: GuestImage,
    result: Path,
    options: ProofOptions,
    notify: Callable[[StepResult], None],
) -> Proof:
    """Run the scenario on two machines and write its report into the folder `result`, also when it is interrupted.

    notify gets each step as it begins and as it ends. A step that failed ends the scenario and is in the proof. Raises
    HapkgError for what is no failure of the stack.
    """
    steps = options.steps
    results = {step.name: StepResult(name=step.name, title=step.title) for step in steps}
    newest = all(step.name != "upgrade" for step in steps)
    with make_scene(offer, site, image, options.accelerator, result, newest=newest, keep=options.keep) as scene:
        try:
            for step in run_steps(steps, scene):
                results[step.name] = step
                notify(step)
                if step.ending is StepEnding.FAILED:
                    take_stock(scene)
        finally:
            data = describe_proof(
                list(results.values()),
                scene.facts,
                suite=offer.suite,
                began=f"{options.began:%Y-%m-%d %H:%M:%S} UTC",
                accelerator=options.accelerator,
                short=options.short,
            )
            page, _ = write_report(result, data)
    failed = next((step for step in results.values() if step.ending is StepEnding.FAILED), None)
    return Proof(data=data, page=page, failed=failed)


def check_proof(proof: Proof) -> None:
    """Raise ProofError with the step that failed, if one did."""
    if proof.failed is not None:
        brief, *details = proof.failed.error
        raise ProofError(f"{proof.failed.title}: {brief}", details=details, hint=f"look at {proof.page}")
