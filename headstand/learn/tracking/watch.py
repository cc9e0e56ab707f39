"""All that looks on while a run trains: figures by epoch, time and memory by step, a trace where one is wanted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstand.learn.features import Extractor
from headstand.learn.search import Trial
from headstand.learn.steps import Steps
from headstand.learn.tracking.history import History
from headstand.learn.tracking.profile import Profile
from headstand.learn.tracking.stopwatch import Stopwatch
from headstand.learn.tracking.trials import write


class Watch:
    """Looks on. Nothing that is learnt depends on it."""

    def __init__(self, folder: Path, steps: Steps, profile: bool) -> None:
        self.steps, self._folder = steps, folder
        self._history = History(folder)
        self._profile = Profile(folder, profile)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._profile.close()
        self._history.close()

    @contextmanager
    def features(self, extractor: Extractor) -> Iterator[None]:
        """What is extracted inside is timed by part, and traced."""
        call = extractor.call
        extractor.call = self._profile.calls("features", call)
        try:
            yield
        finally:
            extractor.call = call
            self._profile.close()
            self.steps.parts["features"] = extractor.watch.seconds
            self.steps.photos["features"] = extractor.computed

    def searched(self, trials: Sequence[Trial]) -> None:
        """The trials of the search."""
        write(self._folder, trials)

    @contextmanager
    def head(self, epochs: int) -> Iterator[Callable[..., None]]:
        """What is to be called after each epoch of the head."""
        step = self._profile.epochs("head", epochs)
        try:
            yield lambda *_: step()
        finally:
            self._profile.close()

    @contextmanager
    def tuning(self, phase: str, photos: int) -> Iterator[dict[str, Any]]:
        """Arguments of `headstand.learn.finetune.run`, by name; `photos` go through the network in an epoch."""
        watch = Stopwatch()

        def after_epoch(history: list[dict[str, float]]) -> None:
            self.steps.photos[phase] = self.steps.photos.get(phase, 0) + photos
            self.tell(phase, history)

        try:
            yield {"watch": watch, "after_epoch": after_epoch, "callbacks": self._profile.batches(phase)}
        finally:
            self._profile.close()
            self.steps.parts[phase] = watch.seconds

    def tell(self, phase: str, history: list[dict[str, float]]) -> None:
        """The figures of all epochs of a phase so far."""
        self._history.tell(phase, history)
