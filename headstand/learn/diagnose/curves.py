"""Rules on the learning curves."""

import math
from collections.abc import Iterator

from headstand.learn.diagnose.evidence import Evidence, Phase
from headstand.learn.diagnose.finding import Finding

GUESSING = 0.9
"""Share of ln(classes) above which nothing was learnt. ln(classes) is the loss of an answer that holds all classes
equally likely, and of one that knows their frequencies where rare ones are weighed up; it wobbles by some percent."""

RISEN = 1.1
"""A training loss that ends a tenth above where it began has risen. Between epochs it wobbles by some percent."""

SETTLED = 0.1
"""Share of ln(classes) below which a rise of the training loss is the wobble of a model that fits its photos."""

OVERFITTED = 1.2
"""How far above its least the validation loss must lie. The mean of N losses that vary twice as much as they are large
has a relative standard error of 2 / sqrt(N): a tenth for 400 photos; this is two of them."""

BADLY = 1.5
"""A validation loss half as high again as its least: too long or too free a training, whichever epoch was kept."""

GAP = 0.1
"""Accuracy on training photos that validation does not reach, in shares."""

EPOCHS = 3
"""With fewer epochs there is no curve to read."""

TAIL = 0.75
"""The last quarter of the epochs shows whether the training was still going up."""


def not_a_number(evidence: Evidence) -> Iterator[Finding]:
    """Losses that are NaN or infinite: some step overflowed."""
    for phase in evidence.phases:
        bad = [
            (number, name)
            for number, figures in enumerate(phase.history, start=1)
            for name in ("loss", "val_loss")
            if name in figures and not math.isfinite(figures[name])
        ]
        if bad:
            number, name = bad[0]
            epochs = len({number for number, _ in bad})
            yield Finding(
                "loss-not-a-number",
                "error",
                f"The loss of {phase.name} is no number",
                f"{name} is {phase.history[number - 1][name]} in epoch {number}, and {epochs} of {len(phase.history)} "
                "epochs have such a loss",
                rate(evidence, phase),
            )


def loss_not_falling(evidence: Evidence) -> Iterator[Finding]:
    """A training loss that stays at that of guessing, or rises."""
    for phase in evidence.phases:
        losses = [loss for loss in phase.series("loss") if math.isfinite(loss)]
        if len(losses) < EPOCHS or len(evidence.classes) < 2:
            continue
        guess = math.log(len(evidence.classes))
        rises = losses[-1] > RISEN * losses[0] and losses[-1] > SETTLED * guess
        if min(losses) <= GUESSING * guess and not rises:
            continue
        yield Finding(
            "loss-not-falling",
            "error",
            f"The loss of {phase.name} does not fall",
            f"loss went from {losses[0]:.3g} (epoch 1) to {losses[-1]:.3g} (epoch {len(losses)}), at least "
            f"{min(losses):.3g}; guessing among {len(evidence.classes)} classes has {guess:.3g}",
            rate(evidence, phase),
        )


def above_guessing(evidence: Evidence) -> Iterator[Finding]:
    """Answers that are so sure and so wrong that knowing nothing would cost less."""
    for phase in evidence.phases:
        if len(evidence.classes) < 2 or "val_loss" not in phase.best:
            continue
        guess, loss = math.log(len(evidence.classes)), phase.best["val_loss"]
        if loss > guess / GUESSING:
            yield Finding(
                "loss-above-guessing",
                "warning",
                f"The validation loss of {phase.name} is above that of guessing",
                f"val_loss={loss:.3g} in epoch {phase.best_epoch}, which was kept; guessing among "
                f"{len(evidence.classes)} classes has {guess:.3g}",
                rate(evidence, phase),
            )


def overfitting(evidence: Evidence) -> Iterator[Finding]:
    """A validation loss that rises while the training loss goes on falling."""
    for phase in evidence.phases:
        losses, held_out = phase.series("loss"), phase.series("val_loss")
        if len(held_out) < EPOCHS or not all(map(math.isfinite, [*losses, *held_out])):
            continue
        least = min(held_out)
        lowest, last = held_out.index(least), len(held_out) - 1
        if held_out[last] < OVERFITTED * least or losses[last] >= losses[lowest]:
            continue
        kept = held_out[phase.best_epoch - 1]
        yield Finding(
            "overfitting",
            "warning" if kept >= OVERFITTED * least or held_out[last] >= BADLY * least else "note",
            f"Overfitting of {phase.name}",
            f"val_loss rose from {least:.2f} (epoch {lowest + 1}) to {held_out[last]:.2f} (epoch {last + 1}) while "
            f"loss fell to {losses[last]:.2g}; epoch {phase.best_epoch} was kept",
            _regularise(evidence, phase, lowest + 1),
        )


def generalisation_gap(evidence: Evidence) -> Iterator[Finding]:
    """Training photos that are known by heart, validation photos that are not."""
    for phase in evidence.phases[-1:]:
        if not phase.history or not {"accuracy", "val_accuracy"} <= set(phase.best):
            continue
        train, held_out = phase.best["accuracy"], phase.best["val_accuracy"]
        if train - held_out < max(GAP, 3 * evidence.noise(held_out)):
            continue
        yield Finding(
            "generalisation-gap",
            "note",
            f"What {phase.name} learnt does not all carry over to new photos",
            f"accuracy={train:.3f} on training photos, val_accuracy={held_out:.3f} in epoch {phase.best_epoch}",
            f"more photos would help most; {_regularise(evidence, phase, None)}",
        )


def best_is_last(evidence: Evidence) -> Iterator[Finding]:
    """A training that was still getting better when it ended."""
    for phase in evidence.phases:
        accuracies, epochs = phase.series("val_accuracy"), len(phase.history)
        if len(accuracies) < EPOCHS or phase.best_epoch != epochs:
            continue
        until = max(1, math.ceil(TAIL * epochs) - 1)
        earlier = max(accuracies[:until])
        gain = accuracies[-1] - earlier
        more = 2 * epochs if phase.section == "head" else math.ceil(1.5 * epochs)
        yield Finding(
            "best-epoch-is-last",
            "warning" if gain > evidence.noise(accuracies[-1]) else "note",
            f"The best epoch of {phase.name} is the last one",
            f"val_accuracy={accuracies[-1]:.4f} in epoch {epochs} of {epochs}, {earlier:.4f} until epoch {until}",
            f"train longer: --{phase.section}.epochs {more}",
        )


def rate(evidence: Evidence, phase: Phase) -> str:
    """Which way to change the learning rate: losses above that of guessing, or rising ones, come of large steps."""
    losses = [loss for figure in ("loss", "val_loss") for loss in phase.series(figure)]
    guess = math.log(max(2, len(evidence.classes)))
    trained = phase.series("loss")
    wild = not all(map(math.isfinite, losses)) or max(losses, default=0) > guess / GUESSING
    if wild or (trained and trained[-1] > RISEN * trained[0]):
        return f"try a lower rate: --{phase.section}.learning_rate {evidence.rate(phase) / 10:g}"
    return f"try a higher rate: --{phase.section}.learning_rate {min(1, evidence.rate(phase) * 10):g}"


def _regularise(evidence: Evidence, phase: Phase, epochs: int | None) -> str:
    """What keeps a training from learning its photos by heart."""
    if phase.section == "finetune":
        return f"fine-tune less: --finetune.epochs {epochs or max(1, len(phase.history) // 2)}"
    if evidence.head.dropout < 0.5:
        return "try --head.dropout 0.5"
    if evidence.head.inner:
        return "try a smaller head: --head.inner []"
    return f"train less: --head.epochs {epochs or max(1, len(phase.history) // 2)}"
