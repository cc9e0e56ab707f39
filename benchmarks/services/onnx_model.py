"""The model that the ONNX services share: JPEG bytes to probabilities, decoded as Headstand decodes."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """ONNX Runtime on one thread: two workers have two cores, and a thread pool in each would only contend."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCHMARK_ONNX"], options, providers=["CPUExecutionProvider"]
        )
        entry = self._session.get_inputs()[0]
        self._name, self._side = entry.name, entry.shape[1]
        self._labels = os.environ["BENCHMARK_LABELS"].split(",")
        self.predict(np.zeros((1, self._side, self._side, 3), np.float32))  # plans the memory before the first client

    def decode(self, body: bytes) -> np.ndarray:
        """`float32 [1, side, side, 3]` in 0..255: the JPEG at half size or less where that is enough, then bilinear."""
        image = Image.open(io.BytesIO(body))
        image.draft("RGB", (2 * self._side, 2 * self._side))
        small = image.convert("RGB").resize((self._side, self._side), Image.Resampling.BILINEAR)
        return np.asarray(small, np.float32)[np.newaxis]

    def classify(self, body: bytes) -> dict[str, float]:
        return self.predict(self.decode(body))

    def predict(self, pixels: np.ndarray) -> dict[str, float]:
        values = self._session.run(None, {self._name: pixels})[0][0]
        return {self._labels[index]: float(values[index]) for index in np.argsort(-values)}
