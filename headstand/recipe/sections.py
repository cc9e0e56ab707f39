"""The sections of a recipe, typed: what each key may be and what it means."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headstand import inputs
from headstand.inputs import InputKind

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Average = Literal["mirror", "crops"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Section):
    """Where the images come from."""

    kind: Literal["kaggle", "folder", "table", "rendered", "boxes", "cifar", "arrays", "heatmaps", "actions"] = "folder"
    dataset: str | None = Field(None, pattern=r"^\w[\w.-]*/\w[\w.-]*$", description="kaggle: the dataset, OWNER/NAME")
    folder: str | None = Field(
        None,
        description="folder: with one folder of images a class, or a zip or tar of one, as a path or an "
        "address: http(s)://, s3:// or any that fsspec knows; cifar: its folder or archive; arrays: folder of data.npy "
        "and labels.npy, or one a split; "
        "heatmaps: folder with one folder of .npy files a class",
    )
    large: bool = Field(
        False,
        description="folder, kaggle, table: use photos of up to 256 MiB and 256 million pixels too; by default those "
        "of up to 20 MiB and 64 million, which are the most that the services accept",
    )
    layout: Literal["auto", "classes", "splits", "inner", "names"] = Field(
        "auto",
        description="folder, kaggle, heatmaps: how the folder is read where auto refuses or errs. classes: each outer "
        "folder is a class; splits: folders named train, test and so on are splits, others are left out; inner: each "
        "innermost folder is a class; names: the class is the file's name without its number, as in cat.1.jpg",
    )
    table: str | None = Field(None, description="table: a CSV file with the columns path, label and perhaps split")
    per_class: Positive | None = Field(
        None, description="rendered, actions: files for each class, 100; cifar: at most so many"
    )
    size: Positive | None = Field(None, description="side of an image in pixels; rendered: 256; boxes: 299")
    images: str | None = Field(None, description="boxes: folder or archive of photos, a path or an address")
    annotations: str | None = Field(None, description="boxes: folder or archive of Pascal VOC boxes")
    most: Positive | Literal["all"] = Field(10, description="boxes: how many classes, the most numerous first")
    labels: Literal["coarse", "fine"] = Field(
        "coarse", description="cifar: 20 superclasses or 100 classes; arrays: which names of a `meta` beside them"
    )
    groups: str | None = Field(None, description="heatmaps: pattern whose groups name a file's sequence or person")

    @field_validator("folder", "table", "images", "annotations", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """A path from Python code says the same as its text; an address is no path."""
        return str(value) if isinstance(value, Path) else value

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        needed = {
            "kaggle": {"dataset": "OWNER/NAME"},
            "folder": {"folder": "PATH"},
            "table": {"table": "FILE.csv"},
            "arrays": {"folder": "PATH"},
            "heatmaps": {"folder": "PATH"},
            "boxes": {"images": "PATH", "annotations": "PATH"},
        }
        for key, example in needed.get(self.kind, {}).items():
            if getattr(self, key) is None:
                raise ValueError(f"kind {self.kind!r} needs {key} = {example!r}")
        return self


class Split(_Section):
    """How the images are divided."""

    train: Fraction = 0.6
    validation: Fraction = 0.2
    test: Fraction = 0.2
    strategy: Literal["grouped", "ordered"] = Field(
        "grouped", description="grouped: stratified, near duplicates together; ordered: in file order, as they come"
    )
    keep_apart: tuple[Name, ...] = Field(
        (), description="recipes whose validation and test photos must have no near duplicate here"
    )
    recut: Literal["none", "validation", "all"] = Field(
        "none",
        description="for a source that is divided already: validation: its validation photos join train, and "
        "validation is cut from both; all: its splits are not used",
    )

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6 or min(self.train, self.validation, self.test) <= 0:
            raise ValueError(f"train + validation + test must be 1 and each more than 0, not {total:g}")
        return self


def _other_backbones() -> str:
    return "; for ".join(f"{kind}: {', '.join(found.backbones)}" for kind, found in inputs.REGISTERED.items())


class Backbone(_Section):
    """The network that turns an image into features; a pretrained one, where it takes photos."""

    name: str = Field("Xception", description=f"a keras.applications model; for {_other_backbones()}")
    size: Annotated[int, Field(ge=32, le=1024)] = Field(150, description="side of the input in pixels")
    weights: str = Field("imagenet", description="imagenet, none, or a file: weights or a Headstand checkpoint")
    pooling: Literal["avg", "max", "none"] = Field(
        "avg", description="what becomes of the network's last map: its average, its maximum, or none: all its values"
    )

    @property
    def input(self) -> InputKind:
        """The input that it takes."""
        return inputs.of_backbone(self.name, self.size)

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, values: Any) -> Any:
        """Sets the size and the weights of a network for another input than photos, which has no choice of them."""
        if isinstance(values, dict) and isinstance(name := values.get("name"), str):
            kind = inputs.of_backbone(name, 0)
            return values if kind.kind == "photos" else {"size": kind.size, "weights": "none", **values}
        return values

    @model_validator(mode="after")
    def _fitting(self) -> "Backbone":
        size = self.input.size
        if self.input.kind != "photos" and (self.size, self.weights) != (size, "none"):
            raise ValueError(
                f"{self.name} takes {self.input.description} and has no pretrained weights, so size = {self.size} and "
                f"weights = {self.weights!r} are not possible; allowed: {size} and 'none', or neither key"
            )
        return self


Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "swish", "tanh", "sigmoid"]


class Augmentation(_Section):
    """Random views of the training photos, never of validation and test.

    A head learns from `views` of each photo that are computed once and kept; fine-tuning of the whole network draws a
    new one in every epoch.
    """

    views: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="kept views of a photo; 0 for the photo alone")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field("horizontal", description="of half of the views")
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = Field(0.5, description="least share of a photo; 1: no crop")
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(0.0, description="largest turn to either side, in degrees")
    zoom: Annotated[float, Field(ge=0, le=0.5)] = Field(0.0, description="0.2: magnified by 0.8 to 1.2")
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="largest shift, as a share of the side")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="0.2: 0.8 to 1.2 times as bright")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="0.2: 0.8 to 1.2 times the contrast")
    saturation: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="0.2: 0.8 to 1.2 times as colourful")
    jitter: Annotated[float, Field(ge=0, le=16)] = Field(
        0.0, description="heatmaps: standard deviation by which each joint is moved, in pixels of the map"
    )
    joint_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="heatmaps: share of the joints that are taken away"
    )

    @property
    def settings(self) -> str:
        """All but the number of views, in a line: the settings that a single view depends on.

        Those of heatmaps alone are told where they are set: views of photos keep the names that they had before.
        """
        photos = set(self.__class__.model_fields) - {"views", "jitter", "joint_dropout"}
        return " ".join(f"{key}={value}" for key, value in self if key in photos or (key != "views" and value))


class Head(_Section):
    """The part that is trained: inner layers, dropout, softmax; and how it is trained."""

    inner: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = Field(
        (100,), description="sizes of the inner layers; empty for none"
    )
    activation: tuple[Activation, ...] = Field(
        ("relu",), min_length=1, description="of the inner layers: one for all, or one for each"
    )
    batch_norm: bool = Field(False, description="normalise each inner layer's sums before its activation")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="share of values dropped before the logits")
    loss_from: Literal["logits", "probabilities"] = Field(
        "logits", description="probabilities: the loss is taken behind the softmax, clipped at 1e-7"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: bool = Field(True, description="weigh rare classes up, so that each class counts the same")
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "adadelta"] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of sgd and rmsprop")
    nesterov: bool = Field(False, description="of sgd with momentum")
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="share of each weight taken off a step, times the rate; unless said, adamw 0.004, others 0"
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.001
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant",
        description="cosine: down to 0 over all epochs; plateau: halved after 2 epochs without a lower validation loss",
    )
    epochs: Positive = 10
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="stop after so many epochs without a better one; 0: never"
    )
    batch_size: Positive = 20

    @field_validator("inner", "activation", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """`inner = 100` says the same as `inner = [100]`, `activation = "relu"` as `activation = ["relu"]`."""
        return (value,) if isinstance(value, int | str) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _possible(self) -> "Head":
        if len(self.activation) not in (1, len(self.inner)):
            raise ValueError(
                f"activation = {list(self.activation)} does not go with inner = {list(self.inner)}; "
                "allowed: one for all layers, or one for each"
            )
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_size = 1 does not go with batch_norm = true; allowed: 2 or more")
        if self.batch_norm and not self.inner:
            raise ValueError("batch_norm = true needs an inner layer to normalise, and inner = []; allowed: false")
        if self.momentum and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(
                f"momentum = {self.momentum:g} does not go with optimizer = {self.optimizer!r}; "
                "allowed: 0, or optimizer 'sgd' or 'rmsprop'"
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                f"nesterov = true does not go with optimizer = {self.optimizer!r} and momentum = {self.momentum:g}; "
                "allowed: false, or optimizer 'sgd' with a momentum above 0"
            )
        return self


class Finetune(_Section):
    """Training the backbone too, after the head. `epochs = 0` leaves the backbone as it is."""

    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    unfreeze: str = Field(
        "all",
        description="what of the backbone is trained: all, 'N blocks' or 'N layers' at its end; what comes before runs "
        "once for each photo and each of its augmentation.views",
    )
    precision: Literal["float32", "mixed_bfloat16"] = Field(
        "float32", description="of training steps; validation and what is saved are float32"
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(3e-4, description="peak, after warm-up; cosine to 0")
    warmup: Fraction = Field(0.1, description="share of the steps with a rising rate")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="momentum of the weights' moving average over the steps, which is what is kept; 0 for none"
    )
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="alpha of the Beta distribution by which pairs of photos and of labels are mixed; 0 for none"
    )
    batch_size: Positive = 32
    refit: Literal["none", "validation", "all"] = Field(
        "none",
        description="train once more for the selected number of epochs: validation: on the validation photos too, and "
        "that model is scored on test; all: on all splits, after the metrics are computed",
    )

    @field_validator("unfreeze")
    @classmethod
    def _part(cls, value: str) -> str:
        if not re.fullmatch(r"all|[1-9]\d{0,5} (block|layer)s?", value):
            raise ValueError("all, 'N blocks' or 'N layers', as in '3 blocks'")
        return value


class Evaluation(_Section):
    """What is made of the answers once everything is trained."""

    sure: Fraction = Field(
        0.95,
        description="accuracy that the confident answers should have at least, by a 95 % confidence bound where there "
        "are photos enough",
    )
    average: Literal["none"] | Average = Field(
        "none",
        description="a second figure, of answers averaged over the photo and its mirror image, or over ten crops",
    )


class Card(_Section):
    """What a published model's card says that no program can know."""

    weights: str = Field("not stated", description="where the starting weights come from, with their licence")
    photos: str = Field("not stated", description="what the photos are")
