import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from headstand.export import flatbuffer
from headstand.export.convert import float32
from headstand.export.correction import corrected
from headstand.export.quantize import VARIANTS, int8
from tests import networks

PIXELS = np.random.default_rng(3).integers(0, 256, (24, networks.SIZE, networks.SIZE, 3)).astype(np.uint8)


def logits(model: bytes) -> np.ndarray:
    """What goes into the softmax."""
    objects = flatbuffer.read(model)
    graph = objects.subgraphs[0]
    graph.outputs, objects.signatureDefs = graph.operators[-1].inputs, None
    interpreter = Interpreter(model_content=flatbuffer.write(objects))
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for row in PIXELS:
        interpreter.set_tensor(input_details["index"], row[np.newaxis].astype(input_details["dtype"]))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(output_details["index"])[0])
    return np.array(rows)


def shifted(model: bytes, steps: int) -> bytes:
    """All biases of the convolution off by some steps; pooling and the head have none in integers."""
    objects = flatbuffer.read(model)
    graph = objects.subgraphs[0]
    layers = [operator for operator in graph.operators if len(operator.inputs) == 3]
    buffer = objects.buffers[graph.tensors[layers[0].inputs[2]].buffer]
    buffer.data = np.frombuffer((np.frombuffer(bytes(buffer.data), np.int32) + steps).tobytes(), np.uint8)
    return flatbuffer.write(objects)


@pytest.fixture(scope="module")
def models() -> tuple[bytes, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks.keras.applications, "MobileNet", networks.tiny)
        model = networks.classifier()
    return int8(model, PIXELS, VARIANTS[0]), float32(model)


def test_a_shift_in_a_layer_is_corrected(models: tuple[bytes, bytes]) -> None:
    quantized, exact = models
    expected = logits(exact).mean(axis=0)
    off = shifted(quantized, 4000)
    before = np.abs(logits(off).mean(axis=0) - expected).max()
    after = np.abs(logits(corrected(off, exact, PIXELS)).mean(axis=0) - expected).max()
    assert before > 0.01 * np.ptp(logits(exact))
    assert after < before / 10


def test_nothing_but_biases_changes(models: tuple[bytes, bytes]) -> None:
    quantized, exact = models
    result = corrected(quantized, exact, PIXELS)
    before, after = flatbuffer.read(quantized), flatbuffer.read(result)
    assert len(result) == len(quantized)
    for one, other in zip(before.subgraphs[0].tensors, after.subgraphs[0].tensors, strict=True):
        buffer_before, buffer_after = before.buffers[one.buffer].data, after.buffers[other.buffer].data
        if buffer_before is not None and one.type != flatbuffer.tflite.TensorType.INT32:
            np.testing.assert_array_equal(buffer_before, buffer_after)


def test_the_order_of_the_photos_does_not_matter(models: tuple[bytes, bytes]) -> None:
    quantized, exact = models
    assert corrected(quantized, exact, PIXELS) == corrected(quantized, exact, PIXELS[::-1])


def test_layers_of_other_names_are_not_changed(models: tuple[bytes, bytes]) -> None:
    quantized, exact = models
    renamed = flatbuffer.read(exact)
    for tensor in renamed.subgraphs[0].tensors:
        tensor.name += b"?"
    assert corrected(quantized, flatbuffer.write(renamed), PIXELS) == quantized
