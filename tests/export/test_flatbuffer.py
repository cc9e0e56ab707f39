import numpy as np
from ai_edge_litert import schema_py_generated as tflite
from ai_edge_litert.interpreter import Interpreter

from headstand.export import flatbuffer
from tests import networks


def predicted(model: bytes) -> np.ndarray:
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_it_is_read_and_written_without_loss(small: tuple[bytes, bytes, np.ndarray]) -> None:
    model = small[1]
    rewritten = flatbuffer.write(flatbuffer.read(model))
    assert flatbuffer.write(flatbuffer.read(rewritten)) == rewritten
    np.testing.assert_array_equal(predicted(rewritten), predicted(model))


def test_equal_zero_points_are_stored_once(small: tuple[bytes, bytes, np.ndarray]) -> None:
    model = flatbuffer.read(small[0])
    before = len(flatbuffer.write(model))
    # A second weight with as many channels costs its scales, and not its zero points again.
    quantized = [tensor for tensor in model.subgraphs[0].tensors if tensor.quantization is not None]
    one = next(tensor for tensor in quantized if np.size(tensor.quantization.scale) == networks.WIDTH)
    other = tflite.TensorT()
    other.name, other.type, other.shape, other.buffer = b"other", one.type, one.shape, one.buffer
    other.quantization = tflite.QuantizationParametersT()
    other.quantization.scale = one.quantization.scale * 2
    other.quantization.zeroPoint = one.quantization.zeroPoint.copy()
    model.subgraphs[0].tensors.append(other)
    enlarged = flatbuffer.write(model)
    assert before + 4 * networks.WIDTH < len(enlarged) < before + 4 * networks.WIDTH + 8 * networks.WIDTH + 56
    again = flatbuffer.read(enlarged).subgraphs[0].tensors
    assert again[-1].quantization.zeroPoint.tolist() == [0] * networks.WIDTH
    assert again[-1].quantization.scale.tolist() == (one.quantization.scale * 2).tolist()
