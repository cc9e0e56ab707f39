import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from headstand.export.tflite_conversion import ConversionError, float32
from tests import networks
from tests.networks import keras


def operators(flatbuffer: bytes) -> list[tuple[int, bytes | None]]:
    """Operator codes, and the custom operations' names."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    return [(max(one.builtinCode, one.deprecatedBuiltinCode), one.customCode) for one in model.operatorCodes]


def test_the_conversion_has_built_in_operations_and_the_same_predictions(
    small_networks: None, capfd: pytest.CaptureFixture[str]
) -> None:
    model = networks.classifier("ResNet50")
    flatbuffer = float32(model)
    assert capfd.readouterr() == ("", "")
    codes = operators(flatbuffer)
    assert codes
    assert all(code != schema.BuiltinOperator.CUSTOM and name is None for code, name in codes)
    interpreter = Interpreter(model_content=flatbuffer)
    interpreter.allocate_tensors()
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (input_details["shape"].tolist(), input_details["dtype"]) == ([1, 32, 32, 3], np.float32)
    assert (output_details["shape"].tolist(), output_details["dtype"]) == ([1, 3], np.float32)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    interpreter.set_tensor(input_details["index"], pixels)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(output_details["index"]), model(pixels), atol=1e-5)


def test_an_operation_of_tensorflows_own_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(pixels)
    model = keras.Model(pixels, keras.layers.Softmax()(keras.ops.erfinv(x / 300)))
    with pytest.raises(ConversionError) as excinfo:
        float32(model)
    message = str(excinfo.value)
    assert message.startswith("the model cannot be converted to built-in TFLite operations: it needs Erfinv, which")
    assert len(message.splitlines()) == 1
    assert capfd.readouterr() == ("", "")
