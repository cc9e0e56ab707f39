import numpy as np
from ai_edge_litert.interpreter import Interpreter

from headstand.export import flatbuffer
from headstand.export.correction import corrected

Small = tuple[bytes, bytes, np.ndarray]


def logits(model: bytes, pixels: np.ndarray) -> np.ndarray:
    """What goes into the softmax."""
    objects = flatbuffer.read(model)
    graph = objects.subgraphs[0]
    graph.outputs, objects.signatureDefs = graph.operators[-1].inputs, None
    interpreter = Interpreter(model_content=flatbuffer.write(objects))
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for row in pixels:
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


def test_a_shift_in_a_layer_is_corrected(small: Small) -> None:
    quantized, exact, pixels = small
    expected = logits(exact, pixels).mean(axis=0)
    off = shifted(quantized, 4000)
    before = np.abs(logits(off, pixels).mean(axis=0) - expected).max()
    after = np.abs(logits(corrected(off, exact, pixels), pixels).mean(axis=0) - expected).max()
    assert before > 0.01 * np.ptp(logits(exact, pixels))
    assert after < before / 10


def test_nothing_but_biases_changes(small: Small) -> None:
    quantized, exact, pixels = small
    result = corrected(quantized, exact, pixels)
    before, after = flatbuffer.read(quantized), flatbuffer.read(result)
    assert len(result) == len(quantized)
    for one, other in zip(before.subgraphs[0].tensors, after.subgraphs[0].tensors, strict=True):
        buffer_before, buffer_after = before.buffers[one.buffer].data, after.buffers[other.buffer].data
        if buffer_before is not None and one.type != flatbuffer.tflite.TensorType.INT32:
            np.testing.assert_array_equal(buffer_before, buffer_after)


def test_the_order_of_the_photos_does_not_matter(small: Small) -> None:
    quantized, exact, pixels = small
    assert corrected(quantized, exact, pixels) == corrected(quantized, exact, pixels[::-1])


def test_layers_of_other_names_are_not_changed(small: Small) -> None:
    quantized, exact, pixels = small
    renamed = flatbuffer.read(exact)
    for tensor in renamed.subgraphs[0].tensors:
        tensor.name += b"?"
    assert corrected(quantized, flatbuffer.write(renamed), pixels) == quantized
