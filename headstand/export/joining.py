"""Joins two converted models: the second one computes with outputs of the first one.

An int8 model is joined with its float32 head, and a classifier with the score of unknown inputs, which becomes its
second output: in 8 bits, features of low variance and vectors of unit length have a few levels only.
"""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as tflite

from headstand.export import flatbuffer


def join(first: bytes, second: bytes, taken: Sequence[int], prefix: str) -> bytes:
    """Returns a model whose outputs are those of `first` that `second` does not take, then those of `second`.

    Args:
        first: a converted model; outputs that are taken are float32.
        second: a converted model whose inputs have the shapes of the taken outputs.
        taken: positions in the Keras outputs of `first`, for each input of `second` in the order of its name.
        prefix: of the tensors of `second`, whose names then differ from those of `first`.
    """
    model, other = flatbuffer.read(first), flatbuffer.read(second)
    graph, added = model.subgraphs[0], other.subgraphs[0]
    (signature,), (second_signature,) = model.signatureDefs, other.signatureDefs
    # The converter names outputs by their position in the Keras model, and may store them in another order.
    outputs = [each.tensorIndex for each in sorted(signature.outputs, key=lambda each: each.name)]
    inputs = [each.tensorIndex for each in sorted(second_signature.inputs, key=lambda each: each.name)]
    # The second model reads the first one's tensors in place of its inputs. Buffer 0 is the empty one of every model.
    index = {int(number): int(outputs[position]) for number, position in zip(inputs, taken, strict=True)}
    kept = [number for number in range(len(added.tensors)) if number not in index]
    index |= {number: len(graph.tensors) + position for position, number in enumerate(kept)} | {-1: -1}
    for tensor in added.tensors:
        tensor.buffer += len(model.buffers) - 1 if tensor.buffer else 0
        tensor.name = f"{prefix}/".encode() + tensor.name
    for operator in added.operators:
        operator.opcodeIndex += len(model.operatorCodes)
        operator.inputs = np.array([index[number] for number in operator.inputs], np.int32)
        operator.outputs = np.array([index[number] for number in operator.outputs], np.int32)
    model.operatorCodes += other.operatorCodes
    model.buffers += other.buffers[1:]
    graph.tensors += [added.tensors[number] for number in kept]
    graph.operators += added.operators
    found = [number for position, number in enumerate(outputs) if position not in taken]
    found += [index[each.tensorIndex] for each in sorted(second_signature.outputs, key=lambda each: each.name)]
    graph.outputs = np.array(found, np.int32)
    signature.outputs = []
    for position, number in enumerate(found):
        entry = tflite.TensorMapT()
        entry.name, entry.tensorIndex = f"output_{position}".encode(), number
        signature.outputs.append(entry)
    return flatbuffer.write(model)
