"""Results that were never measured."""

from headstand.compare.entry import ComparisonEntry
from headstand.compare.result import HeadScore, ModelSize, Result
from headstand.recipe import Augmentation, Backbone, Head
from headstand.stats import wilson

ENTRY = ComparisonEntry("plain", Backbone(name="MobileNet", size=32, weights="none"), Augmentation(), Head())


def result(
    variant: str = "plain",
    right: str | None = "1111111110",
    megabytes: float | None = 10.0,
    milliseconds: float = 5.0,
    *,
    backbone: str = "MobileNet",
    loss: float = 0.5,
    trained: bool = True,
    share: float = 1.0,
    cached: int = 0,
) -> Result:
    """An entry with these figures; None where they are not measured."""
    entry = ComparisonEntry(variant, Backbone(name=backbone, size=32, weights="imagenet"), Augmentation(), Head())
    score = None
    if right is not None:
        score = HeadScore(
            val_accuracy=right.count("1") / len(right),
            interval=wilson(right.count("1"), len(right)),
            val_loss=loss,
            epoch=3,
            right=right,
            features=2.0,
            cached=cached,
            photos=20,
            head=0.5,
        )
    weight = None if megabytes is None else ModelSize(round(megabytes * 1e6), milliseconds, share, trained)
    return Result(entry, score, weight, () if score and weight else ("accuracy not measured: no weights",))
