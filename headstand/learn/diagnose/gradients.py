"""Rules on gradients and units."""

import math
from collections.abc import Iterator

from headstand.learn.diagnose.evidence import Evidence
from headstand.learn.diagnose.finding import Finding

EXPLODED = 10.0
"""How many times larger than in the first epoch. Gradients are largest in the beginning, when most answers are wrong,
and shrink with the loss; where they grow tenfold, training runs away."""

VANISHED = 1e-3
"""The least that the largest global norm of an epoch may be while the loss is high. For cross-entropy the gradient of
the logits' biases alone is the mean of (probability - truth) over a batch, some tenths where answers are wrong; a
hundredth of that does not come from wrong answers but from a softmax or units that pass nothing on."""

UNLEARNT = 0.5
"""Share of ln(classes) above which a loss is high: a small gradient then does not mean that all is learnt."""

DEAD = 0.5
"""Share of a layer's units; SageMaker Debugger's rule of the same name draws the line there too. Some units die in
healthy heads as well."""


def exploding(evidence: Evidence) -> Iterator[Finding]:
    """Gradients that grow instead of shrinking, or are no numbers."""
    for phase in evidence.phases:
        norms = phase.series("gradient_norm")
        if len(norms) < 2:
            continue
        # A norm that is no number is larger than any.
        sizes = [norm if math.isfinite(norm) else math.inf for norm in norms]
        largest = max(sizes)
        if math.isfinite(largest) and largest < EXPLODED * sizes[0]:
            continue
        yield Finding(
            "exploding-gradients",
            "error" if math.isinf(largest) else "warning",
            f"Exploding gradients in {phase.name}",
            f"gradient_norm went from {norms[0]:.3g} (epoch 1) to {norms[sizes.index(largest)]:.3g} "
            f"(epoch {sizes.index(largest) + 1})",
            f"try a lower rate: --{phase.section}.learning_rate {evidence.rate(phase) / 10:g}",
        )


def vanishing(evidence: Evidence) -> Iterator[Finding]:
    """Gradients near zero although nearly everything is still to be learnt."""
    for phase in evidence.phases:
        if len(evidence.classes) < 2:
            continue
        high = UNLEARNT * math.log(len(evidence.classes))
        stuck = [
            (number, figures)
            for number, figures in enumerate(phase.history, start=1)
            if figures.get("gradient_norm", math.inf) < VANISHED and figures["loss"] > high
        ]
        if not stuck:
            continue
        number, figures = stuck[0]
        yield Finding(
            "vanishing-gradients",
            "error",
            f"Vanishing gradients in {phase.name}",
            f"gradient_norm is {figures['gradient_norm']:.2g} in epoch {number} while loss is still "
            f"{figures['loss']:.3g}, and so in {len(stuck)} of {len(phase.history)} epochs",
            "the softmax or the units pass nothing on: try "
            f"--{phase.section}.learning_rate {evidence.rate(phase) / 10:g}"
            + (" and --head.activation gelu" if evidence.head.inner else ""),
        )


def dead_relus(evidence: Evidence) -> Iterator[Finding]:
    """ReLU units that are zero for every training photo: they learn nothing any more."""
    for layer in evidence.dead:
        if layer.units and layer.dead >= DEAD * layer.units:
            rate = evidence.head.learning_rate / 10
            yield Finding(
                "dead-relus",
                "warning",
                f"Dead ReLUs in layer {layer.layer}",
                f"{layer.dead} of {layer.units} units are zero for all {sum(evidence.counts)} training photos",
                f"try --head.activation gelu, or a lower rate: --head.learning_rate {rate:g}",
            )
