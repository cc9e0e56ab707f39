"""Trainable layers, optimizer, learning rate schedule and loss of fine-tuning."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from headstand.recipe import Finetune


def compile_for(model: keras.Model, settings: Finetune, steps: int, frozen: Sequence[keras.layers.Layer] = ()) -> None:
    """Compiles the model for fine-tuning: all layers but BatchNormalization, `scale` and `frozen` become trainable.

    The optimizer is AdamW (Loshchilov & Hutter 2019) with a linear warm-up and a cosine decay to zero over `steps`. If
    `settings.ema` is positive it keeps a moving average of the weights (Polyak & Juditsky 1992). BatchNormalization
    stays in inference mode: with batches this small its statistics would drift, and Keras 3 ignores `training=False` on
    a nested model under `fit`.

    Args:
        model: whole model or the part after the frozen prefix.
        settings: fine-tuning section of the recipe.
        steps: optimizer steps of all epochs, warm-up included.
        frozen: layers that stay frozen.
    """
    model.trainable = True
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) or layer.name == "scale":
            layer.trainable = False
    for layer in frozen:
        layer.trainable = False
    warmup = round(steps * settings.warmup)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    model.compile(
        AdamW(rate, weight_decay=settings.weight_decay, use_ema=settings.ema > 0, ema_momentum=settings.ema),
        keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        # On a CPU, XLA computes convolutions several times more slowly than the default kernels.
        jit_compile=False,
    )


class AdamW(keras.optimizers.AdamW):
    """AdamW that records the largest global norm of the gradients, before any processing, in `largest`."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Not a Keras variable, so that it is not saved with the optimizer state.
        self.largest = tf.Variable(0.0, trainable=False)

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        self.largest.assign(tf.maximum(self.largest, tf.linalg.global_norm(grads)))
        super().apply(grads, trainable_variables)
