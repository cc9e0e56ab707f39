import numpy as np
from ai_edge_litert import schema_py_generated as tflite
from ai_edge_litert.interpreter import Interpreter

from headstand.export import flatbuffer
from headstand.export.convert import float32
from headstand.export.quantize import VARIANTS, int8
from tests import networks


def test_it_is_read_and_written_without_loss(small_networks: None) -> None:
    model = networks.classifier()
    rewritten = flatbuffer.write(flatbuffer.read(float32(model)))
    assert flatbuffer.write(flatbuffer.read(rewritten)) == rewritten
    interpreter = Interpreter(model_content=rewritten)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    np.testing.assert_allclose(
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), model(pixels), atol=1e-5
    )


def test_equal_zero_points_are_stored_once(small_networks: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    model = flatbuffer.read(int8(networks.classifier(), pixels, VARIANTS[0]))
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
