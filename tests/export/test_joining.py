import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from headstand.evaluation import unknown_inputs
from headstand.export import joining, tflite_conversion
from headstand.export.quantize import int8
from tests import networks
from tests.networks import keras

PIXELS = np.random.default_rng(0).integers(0, 256, (24, networks.SIZE, networks.SIZE, 3)).astype(np.uint8)


def run(model: bytes) -> list[np.ndarray]:
    """Returns the outputs for `PIXELS` in the order of the flatbuffer, each `[N, columns]`."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    rows: list[list[np.ndarray]] = []
    for row in PIXELS:
        interpreter.set_tensor(taken["index"], row[np.newaxis].astype(taken["dtype"]))
        interpreter.invoke()
        rows.append([interpreter.get_tensor(one["index"])[0] for one in given])
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.fixture
def model(small_networks: None) -> keras.Model:
    return networks.classifier()


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_the_first_output_is_unchanged_and_the_second_is_the_score(model: keras.Model, kind: str) -> None:
    def converted(network: keras.Model) -> bytes:
        return tflite_conversion.float32(network) if kind == "float32" else int8(network, PIXELS)

    features = unknown_inputs.with_features(model)(PIXELS.astype(np.float32))[1].numpy()
    detector = unknown_inputs.fit(features, np.arange(24) % 3, 1, centered=False)
    score = tflite_conversion.float32(detector.network())
    probabilities, similarities = run(
        joining.join(converted(unknown_inputs.with_features(model)), score, [1], "similarity")
    )
    (alone,) = run(converted(model))
    np.testing.assert_array_equal(probabilities, alone)
    assert similarities.shape == (24, 1)
    tolerance = 1e-5 if kind == "float32" else 0.02
    assert similarities[:, 0] == pytest.approx(detector.similarities(features), abs=tolerance)
