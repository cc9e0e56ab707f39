"""LitServe + ONNX Runtime: two inference workers, and as many HTTP servers, which is its default.

python -m benchmarks.services.onnx_litserve PORT
"""

import sys
from typing import Annotated

import litserve
import numpy as np
from fastapi import Body

from benchmarks.services.onnx_model import Model


class Service(litserve.LitAPI):
    """JPEG bytes in, probabilities out."""

    def setup(self, device: str) -> None:
        self.model = Model()

    # The body as it comes: LitServe's own ways, JSON and forms, cost more.
    def decode_request(self, request: Annotated[bytes, Body()]) -> np.ndarray:
        return self.model.decode(request)

    def predict(self, pixels: np.ndarray) -> dict[str, float]:
        return self.model.predict(pixels)

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Service(api_path="/predict"), accelerator="cpu", workers_per_device=2, timeout=False)
    server.run("127.0.0.1", int(sys.argv[1]), log_level="error", generate_client_file=False)
