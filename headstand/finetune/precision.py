"""Mixed precision: training steps in bfloat16 if the recipe asks for it; weights, validation and saving in float32."""

import keras


class MixedPrecisionCallback(keras.callbacks.Callback):
    """Callback that computes training steps with another dtype policy, and validates and saves in float32.

    The weights are always float32. A step's graph is traced with the policy that its layers have at that moment, so the
    policy is set before the steps of each epoch and reset before its validation. List it before the callbacks that save
    the model.
    """

    def __init__(self, policy: str) -> None:
        super().__init__()
        self._policy = policy

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, self._policy)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, "float32")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        set_policy(self.model, "float32")


def set_policy(model: keras.Model, policy: str) -> None:
    """Sets the dtype policy of all layers but the last, whose softmax needs more than the 8 bits of bfloat16."""
    last = model.layers[-1]
    for layer in model._flatten_layers(include_self=False):
        if layer is not last and not isinstance(layer, keras.Model):
            layer.dtype_policy = policy
