"""Optimizer updates by TensorFlow's fused kernels: one pass over the weights instead of ten in `keras.optimizers`.

The results equal those of the Keras optimizers of the same name; a test compares them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from headstand import recipe as recipes

# The constants are the defaults of keras.optimizers.
_EPSILON = 1e-7
_BETA_1, _BETA_2 = 0.9, 0.999
_RHO = {"rmsprop": 0.9, "adadelta": 0.95}

ADAMW_DECAY = 0.004
"""Weight decay of AdamW if the recipe sets none."""

SLOTS = {"adam": 2, "adamw": 2, "sgd": 1, "rmsprop": 2, "adadelta": 2}
"""Number of slot variables that an optimizer keeps for each weight."""


def decay(head: recipes.Head) -> float:
    """Returns the head's weight decay; if the recipe sets none, `ADAMW_DECAY` for AdamW and 0 for the others."""
    if head.weight_decay is None:
        return ADAMW_DECAY if head.optimizer == "adamw" else 0.0
    return head.weight_decay


def update(name: str, nesterov: bool) -> Callable[..., None]:
    """Returns a function that updates one variable by one optimizer step.

    Adam: Kingma & Ba 2015; AdamW: Loshchilov & Hutter 2019; RMSprop: Tieleman & Hinton 2012; Adadelta: Zeiler 2012;
    SGD with Nesterov momentum: Sutskever et al. 2013. Weight decay is applied separately (see `epoch.training`).

    Args:
        name: the optimizer, a key of `SLOTS`.
        nesterov: whether SGD uses Nesterov momentum.

    Returns:
        A function of variable, its slots, gradient, learning rate, momentum and the step's number from 1, as tensors.
    """

    def step(variable: Any, slots: Sequence[Any], gradient: Any, rate: Any, momentum: Any, number: Any) -> None:
        first, *second = (slot.handle for slot in slots)
        common = {"var": variable.handle, "lr": rate, "grad": gradient}
        if name == "sgd":
            tf.raw_ops.ResourceApplyKerasMomentum(accum=first, momentum=momentum, use_nesterov=nesterov, **common)
        elif name == "rmsprop":
            tf.raw_ops.ResourceApplyRMSProp(
                ms=first, mom=second[0], rho=_RHO[name], momentum=momentum, epsilon=_EPSILON, **common
            )
        elif name == "adadelta":
            tf.raw_ops.ResourceApplyAdadelta(
                accum=first, accum_update=second[0], rho=_RHO[name], epsilon=_EPSILON, **common
            )
        else:
            time = tf.cast(number, tf.float32)
            tf.raw_ops.ResourceApplyAdam(
                m=first,
                v=second[0],
                beta1_power=tf.pow(_BETA_1, time),
                beta2_power=tf.pow(_BETA_2, time),
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                **common,
            )

    return step
