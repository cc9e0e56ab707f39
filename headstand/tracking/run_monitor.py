"""Tracking of a training run: metrics by epoch, time by part of each step, search trials, and profiler traces."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstand.features import Extractor
from headstand.heads.search import Trial
from headstand.tracking.history import History
from headstand.tracking.profile import Profile
from headstand.tracking.steps import Steps
from headstand.tracking.stopwatch import Stopwatch
from headstand.tracking.trials import write


class RunMonitor:
    """Context manager that records metrics, times and traces of a run; it does not influence the training."""

    def __init__(self, folder: Path, steps: Steps, profile: bool) -> None:
        self.steps, self._folder = steps, folder
        self._history = History(folder)
        self._profile = Profile(folder, profile)

    def __enter__(self) -> "RunMonitor":
        return self

    def __exit__(self, *_: object) -> None:
        self._profile.close()
        self._history.close()

    @contextmanager
    def features(self, extractor: Extractor) -> Iterator[None]:
        """Records time by part, photo count and a trace of the feature extraction inside the `with` block."""
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
        """Writes the trials of the search for TensorBoard."""
        write(self._folder, trials)

    @contextmanager
    def head(self, epochs: int) -> Iterator[Callable[..., None]]:
        """Yields a callback for the end of each epoch of head training, which traces one epoch."""
        step = self._profile.epochs("head", epochs)
        try:
            yield lambda *_: step()
        finally:
            self._profile.close()

    @contextmanager
    def tuning(self, phase: str, photos: int) -> Iterator[dict[str, Any]]:
        """Yields keyword arguments for `headstand.finetune.run` that record its metrics, times and a trace.

        Args:
            phase: name of the phase.
            photos: number of photos that pass the network in an epoch.
        """
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
        """Writes the metrics of all epochs of a phase so far."""
        self._history.tell(phase, history)
