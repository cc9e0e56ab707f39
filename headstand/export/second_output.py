"""Adds the score of unknown inputs to a converted classifier as its second output.

The score is computed in float32 from the features that the classifier computes, also in int8: in 8 bits a feature
vector of unit length has a few levels only.
"""

import numpy as np

from headstand.export import flatbuffer


def append(classifier: bytes, score: bytes) -> bytes:
    """Returns a classifier whose second output is computed from its features by another model.

    Args:
        classifier: converted from `headstand.evaluation.unknown_inputs.with_features`.
        score: a converted model from features, `float32 [1, D]`, to `float32 [1, 1]`.

    Returns:
        A flatbuffer with the outputs `float32 [1, classes]` and `float32 [1, 1]`.
    """
    model, other = flatbuffer.read(classifier), flatbuffer.read(score)
    graph, added = model.subgraphs[0], other.subgraphs[0]
    (signature,) = model.signatureDefs
    # The converter names outputs by their position in the Keras model, and may store them in another order.
    probabilities, features = sorted(signature.outputs, key=lambda output: output.name)
    # The score reads the classifier's features in place of its own input. Buffer 0 is the empty one of every model.
    kept = [number for number in range(len(added.tensors)) if number != added.inputs[0]]
    index = {number: len(graph.tensors) + position for position, number in enumerate(kept)}
    index |= {-1: -1, int(added.inputs[0]): features.tensorIndex}
    for tensor in added.tensors:
        tensor.buffer += len(model.buffers) - 1 if tensor.buffer else 0
        tensor.name = b"similarity/" + tensor.name
    for operator in added.operators:
        operator.opcodeIndex += len(model.operatorCodes)
        operator.inputs = np.array([index[number] for number in operator.inputs], np.int32)
        operator.outputs = np.array([index[number] for number in operator.outputs], np.int32)
    model.operatorCodes += other.operatorCodes
    model.buffers += other.buffers[1:]
    graph.tensors += [added.tensors[number] for number in kept]
    graph.operators += added.operators
    features.tensorIndex = index[int(added.outputs[0])]
    graph.outputs = np.array([probabilities.tensorIndex, features.tensorIndex], np.int32)
    return flatbuffer.write(model)
