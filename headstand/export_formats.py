"""Names of the export formats. The command line lists them before TensorFlow is imported."""

FORMATS = ("float32", "float16", "dynamic", "int8")
"""float32: as trained. float16: 16-bit weights. dynamic: 8-bit weights, activations quantized at run time. int8: 8-bit
weights and activations, `uint8` pixels as input."""

BEST = "best"
"""The fastest of `FORMATS` that passes."""

ONNX = "onnx"
"""float32 in a file of another format, which the services do not load."""
