"""Training in bfloat16 where it is asked for; everything else stays in float32."""

import keras


class Precision(keras.callbacks.Callback):
    """Computes training steps in another precision, and validates in float32, as the model is saved and answers.

    The weights are float32 throughout. A step's graph is traced with the policy that its layers have at that moment, so
    the policy is set before each epoch's steps and put back before its validation. To be listed before the callbacks
    that save the model.
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
    """Give all layers a dtype policy but the last, whose softmax bfloat16's eight bits would spoil."""
    last = model.layers[-1]
    for layer in model._flatten_layers(include_self=False):
        if layer is not last and not isinstance(layer, keras.Model):
            layer.dtype_policy = policy
