"""Sections of a recipe: keys, types, allowed values and descriptions, which are also the help texts."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from headstand import inputs
from headstand.inputs import InputKind
from headstand.keras_files import reader
from headstand.recipe.paths import RecipeError, locate

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=1_000_000)]
Average = Literal["mirror", "crops"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Section):
    """Source of the images."""

    kind: Literal["kaggle", "folder", "table", "rendered", "boxes", "cifar", "arrays", "heatmaps", "actions"] = Field(
        "folder",
        description="form of the source; rendered: drawn poses; boxes: photos cropped by boxes; arrays: .npy files; "
        "actions: drawn heatmaps. The other keys state the kinds that they belong to",
    )
    dataset: str | None = Field(None, pattern=r"^\w[\w.-]*/\w[\w.-]*$", description="kaggle: the dataset, OWNER/NAME")
    folder: str | None = Field(
        None,
        description="folder: a folder with one subfolder of images per class, or a zip or tar archive of one, as a "
        "path or a URL (http(s)://, s3:// or any that fsspec supports); cifar: its folder or archive; arrays: a folder "
        "with data.npy and labels.npy, or with one such folder per split; heatmaps: a folder with one subfolder of "
        ".npy files per class",
    )
    large: bool = Field(
        False,
        description="folder, kaggle, table: accept photos of up to 256 MiB and 256 million pixels; the default limits "
        "are those of the services, 20 MiB and 64 million pixels",
    )
    layout: Literal["auto", "classes", "splits", "inner", "names"] = Field(
        "auto",
        description="folder, kaggle, heatmaps: layout of the folder, if auto does not recognise it correctly. classes: "
        "each outer folder is a class; splits: folders named train, test and so on are splits, others are left out; "
        "inner: each innermost folder is a class; names: the class is the file name without its number, as in "
        "cat.1.jpg",
    )
    table: str | None = Field(None, description="table: a CSV file with the columns path, label and optionally split")
    per_class: Positive | None = Field(
        None, description="rendered, actions: files per class, by default 100; cifar: maximum per class"
    )
    size: Positive | None = Field(
        None, description="side of an image in pixels; default for rendered: 256, for boxes: 299"
    )
    images: str | None = Field(None, description="boxes: folder or archive of photos, a path or a URL")
    annotations: str | None = Field(None, description="boxes: folder or archive of Pascal VOC boxes")
    most: Positive | Literal["all"] = Field(10, description="boxes: number of classes; the most frequent ones are used")
    labels: Literal["coarse", "fine"] = Field(
        "coarse",
        description="cifar: 20 superclasses or 100 classes; arrays: which names of the file `meta` beside them",
    )
    groups: str | None = Field(
        None, description="heatmaps: regular expression whose groups identify the sequence or person of a file"
    )

    @property
    def location(self) -> str:
        """Where the photos are: a path, an address or the name of a dataset; the kind for photos that are drawn."""
        keys = {"kaggle": self.dataset, "table": self.table, "boxes": self.images}
        return keys.get(self.kind, self.folder) or self.kind

    @field_validator("folder", "table", "images", "annotations", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """Accepts a `Path`, which becomes its text, because these keys may also be URLs."""
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
    """Split of the images into train, validation and test, as shares of 1."""

    train: Fraction = Field(0.6, description="for training")
    validation: Fraction = Field(0.2, description="for selecting the model")
    test: Fraction = Field(0.2, description="for the reported accuracy")
    strategy: Literal["grouped", "ordered"] = Field(
        "grouped", description="grouped: stratified by class, near duplicates together; ordered: in file order"
    )
    disjoint_from: tuple[Name, ...] = Field(
        (), description="recipes whose validation and test photos must not have near duplicates in this dataset"
    )
    recut: Literal["none", "validation", "all"] = Field(
        "none",
        description="for a source that has splits: validation: merge its train and validation splits and draw a new "
        "validation split; all: ignore its splits",
    )

    @model_validator(mode="after")
    def _whole(self) -> "Split":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6 or min(self.train, self.validation, self.test) <= 0:
            raise ValueError(f"train + validation + test must be 1 and each more than 0; the sum is {total:g}")
        return self


DEPTHS = 4
"""Largest number of depths: earlier feature maps measured no gain."""


Preprocessing = Literal["xception", "caffe", "torch", "lite", "none"]
"""Scaling of pixels in 0..255 before a network. "xception": to -1..1. "caffe": BGR minus ImageNet's means. "torch":
0..1, standardised by ImageNet's statistics. "lite": (pixels - 127) / 128. "none": unchanged."""

SHIPPED: dict[str, tuple[str, Preprocessing]] = {
    "EfficientNetLite0": ("models/backbones/efficientnet_lite0.keras", "lite"),
}
"""Networks with ImageNet weights in the repository: file and preprocessing by name."""

_PRESET = "keras_hub:"

_PRESET_SIZE = 224
"""Side of the input that most presets for photos have, in pixels."""


def _other_backbones() -> str:
    return "; for ".join(f"{kind}: {', '.join(found.backbones)}" for kind, found in inputs.REGISTERED.items())


class Backbone(_Section):
    """Backbone: the network that computes features of an image."""

    name: str = Field(
        "Xception",
        min_length=1,
        description=f"a keras.applications model; {', '.join(SHIPPED)}, which needs no download; a .keras or .h5 file "
        f"with a network; {_PRESET}PRESET: a backbone of KerasHub, by the name of its preset or its folder; "
        f"for {_other_backbones()}; auto: the one of compare.backbones with the lowest log loss in cross-validation",
    )
    size: Annotated[int, Field(ge=32, le=1024)] = Field(
        150,
        description="side of the input in pixels; for a network in a file by default its own"
        f", for a preset {_PRESET_SIZE}",
    )
    weights: str = Field(
        "imagenet",
        description="imagenet; none: random; pretrained: those in the network's file or preset; or a file: weights or "
        "a Headstand checkpoint",
    )
    preprocessing: Literal["auto"] | Preprocessing = Field(
        "auto",
        description="scaling of the pixels 0..255 before the network. xception: to -1..1; caffe: BGR minus ImageNet's "
        "means; torch: standardised by ImageNet's statistics; lite: (pixels - 127) / 128; none: the network scales "
        "them itself; auto: as the network was trained, where that is known",
    )
    pooling: Literal["avg", "max", "none"] = Field(
        "avg", description="pooling of the last feature map: its average, its maximum, or none: all its values"
    )
    depths: Annotated[int, Field(ge=1, le=DEPTHS)] = Field(
        1,
        description="number of depths whose pooled feature maps are concatenated: the last one, and before it the last "
        "one of each larger resolution, of which the second is pooled in 3 x 3 cells, left and right averaged; 1 "
        "without pooling, and if only a part of the backbone is fine-tuned",
    )

    @property
    def input(self) -> InputKind:
        """The input that it takes."""
        return inputs.of_backbone(self.name, self.size)

    @property
    def automatic(self) -> bool:
        """Whether training selects one of `compare.backbones`."""
        return self.name == "auto"

    @property
    def network_file(self) -> str | None:
        """The file that holds the network, as for `locate` with `HEADSTAND_WEIGHTS`; None if it is not in a file."""
        return network_file(self.name)

    @property
    def preset(self) -> str | None:
        """The preset of KerasHub; None for another network."""
        return self.name.removeprefix(_PRESET) if self.name.startswith(_PRESET) else None

    @property
    def weights_file(self) -> str | None:
        """The file that the weights are read from instead of the network's own, as for `locate`."""
        return None if self.weights in ("imagenet", "pretrained", "none") else self.weights

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, values: Any) -> Any:
        """Sets size and weights of a network that determines them: for another input than photos, or in a file."""
        if isinstance(values, dict) and isinstance(name := values.get("name"), str):
            kind = inputs.of_backbone(name, 0)
            if kind.kind != "photos":
                return {"size": kind.size, "weights": "none", **values}
            if name.startswith(_PRESET):
                return {"size": _PRESET_SIZE, "weights": "pretrained", **values}
            if file := network_file(name):
                weights = {} if name in SHIPPED else {"weights": "pretrained"}
                return {**({} if "size" in values else _own_size(file)), **weights, **values}
        return values

    @model_validator(mode="after")
    def _fitting(self) -> "Backbone":
        if self.network_file:
            allowed = {"imagenet" if self.name in SHIPPED else "pretrained"}
        else:
            allowed = {"pretrained" if self.preset else "imagenet", "none"}
        if self.input.kind == "photos" and not self.weights_file and self.weights not in allowed:
            raise ValueError(
                f"{self.name} does not work with weights = {self.weights!r}; allowed: "
                f"{', '.join(map(repr, sorted(allowed)))} or a file"
            )
        size = self.input.size
        if self.input.kind != "photos" and (self.size, self.weights) != (size, "none"):
            raise ValueError(
                f"{self.name} takes {self.input.description} and has no pretrained weights, so size = {self.size} and "
                f"weights = {self.weights!r} are not possible; allowed: {size} and 'none', or neither key"
            )
        return self


def network_file(name: str) -> str | None:
    """Returns the file that holds the network of this name; None if it is not in a file."""
    if name in SHIPPED:
        return SHIPPED[name][0]
    return name if name.endswith((".keras", ".h5")) and not name.startswith(_PRESET) else None


def _own_size(file: str) -> dict[str, int]:
    """Returns the key `size` with the side of the network's input; empty if the file does not state it."""
    try:
        size = reader.input_size(locate(file, "HEADSTAND_WEIGHTS"))
    except RecipeError:  # reported when the network is loaded
        size = None
    return {"size": size} if size else {}


Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "swish", "tanh", "sigmoid"]


class Augmentation(_Section):
    """Augmentation: random views of the training photos, never of validation and test photos.

    A head is trained on `views` of each photo, which are computed once and cached; fine-tuning of the whole network
    draws a new view in every epoch.
    """

    views: Annotated[int, Field(ge=0, le=1000)] = Field(0, description="cached views per photo; 0: the photo alone")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field("horizontal", description="flip half of the views")
    smallest_crop: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="smallest share of the photo in a crop; 1: no crop"
    )
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0, description="largest rotation in either direction, in degrees"
    )
    zoom: Annotated[float, Field(ge=0, le=0.5)] = Field(0.0, description="0.2: scale by 0.8 to 1.2")
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="largest shift, as a share of the side")
    brightness: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="0.2: 0.8 to 1.2 times the brightness")
    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="0.2: 0.8 to 1.2 times the contrast")
    saturation: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="0.2: 0.8 to 1.2 times the saturation")
    jitter: Annotated[float, Field(ge=0, le=16)] = Field(
        0.0, description="heatmaps: standard deviation of a random shift of each joint, in pixels of the map"
    )
    joint_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="heatmaps: share of the joints that are removed"
    )

    @property
    def settings(self) -> str:
        """The settings that a single view depends on, in one line: all but the number of views.

        Settings that only heatmaps have are included if they are set, so that cached views of photos stay valid.
        """
        photos = set(self.__class__.model_fields) - {"views", "jitter", "joint_dropout"}
        return " ".join(f"{key}={value}" for key, value in self if key in photos or (key != "views" and value))


class Head(_Section):
    """Head: the inner layers, dropout and softmax on top of the features, and the settings of its training."""

    inner: tuple[Annotated[int, Field(gt=0, le=65_536)], ...] = Field(
        (100,), description="sizes of the inner layers; empty for none"
    )
    activation: tuple[Activation, ...] = Field(
        ("relu",), min_length=1, description="activation of the inner layers: one for all, or one for each"
    )
    batch_norm: bool = Field(False, description="batch normalisation before each activation of an inner layer")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="dropout rate before the logits")
    loss_from: Literal["logits", "probabilities"] = Field(
        "logits", description="probabilities: compute the loss after the softmax, clipped at 1e-7"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of the target probability that is divided equally among the classes"
    )
    class_weights: bool = Field(True, description="weight the classes inversely to their frequency")
    standardise: bool = Field(
        False,
        description="standardise the features with the training split's mean and standard deviation, and train on "
        "their principal components",
    )
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "adadelta", "lbfgs"] = Field(
        "adam", description="lbfgs: logistic regression, solved on all rows at once"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of sgd and rmsprop")
    nesterov: bool = Field(False, description="of sgd with momentum")
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="decoupled weight decay per step, times the learning rate; default: adamw 0.004, others 0. lbfgs: "
        "the L2 penalty, half of it times the squared weights; default 0.01",
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(0.001, description="of the first epoch")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant",
        description="cosine: decay to 0 over all epochs; plateau: halve after 2 epochs without a lower validation loss",
    )
    epochs: Positive = Field(10, description="passes over the training photos, at most")
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="stop after this many epochs without improvement; 0: never"
    )
    batch_size: Positive = Field(20, description="photos in a training step")

    @field_validator("inner", "activation", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        """Accepts `inner = 100` for `inner = [100]`, and `activation = "relu"` for `activation = ["relu"]`."""
        return (value,) if isinstance(value, int | str) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _possible(self) -> "Head":
        if len(self.activation) not in (1, len(self.inner)):
            raise ValueError(
                f"activation = {list(self.activation)} does not fit inner = {list(self.inner)}; "
                "allowed: one for all layers, or one for each"
            )
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_size = 1 does not work with batch_norm = true; allowed: 2 or more")
        if self.batch_norm and not self.inner:
            raise ValueError("batch_norm = true needs an inner layer, but inner = []; allowed: false")
        if self.momentum and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(
                f"momentum = {self.momentum:g} does not work with optimizer = {self.optimizer!r}; "
                "allowed: 0, or optimizer 'sgd' or 'rmsprop'"
            )
        if self.optimizer == "lbfgs" and (
            self.inner or self.dropout or self.label_smoothing or self.loss_from != "logits"
        ):
            raise ValueError(
                "optimizer = 'lbfgs' is logistic regression; allowed: inner = [], dropout = 0, label_smoothing = 0 and "
                "loss_from = 'logits'"
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                f"nesterov = true does not work with optimizer = {self.optimizer!r} and momentum = {self.momentum:g}; "
                "allowed: false, or optimizer 'sgd' with a momentum above 0"
            )
        return self


class Finetune(_Section):
    """Fine-tuning: training of the backbone too, after the head. `epochs = 0`: none."""

    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, description="passes over the training photos, at most; 0: no fine-tuning"
    )
    unfreeze: str = Field(
        "all",
        description="part of the backbone that is trained: all, or the last 'N blocks' or 'N layers'; the layers "
        "before it run once for each photo and each of its augmentation.views",
    )
    precision: Literal["float32", "mixed_bfloat16"] = Field(
        "float32", description="of training steps; validation and checkpoints are float32"
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        3e-4, description="peak learning rate, after warm-up; cosine decay to 0"
    )
    warmup: Fraction = Field(0.1, description="share of the steps in which the learning rate rises")
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        1e-4, description="decoupled weight decay per step, times the learning rate"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="as head.label_smoothing")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.99, description="momentum of the moving average of the weights, which is what is saved; 0: no averaging"
    )
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="alpha of the Beta distribution of mixup (Zhang et al. 2018); 0: no mixup"
    )
    batch_size: Positive = Field(32, description="photos in a training step")
    refit: Literal["none", "validation", "all"] = Field(
        "none",
        description="train again for the selected number of epochs: validation: on train and validation, and score "
        "that model on test; all: on all splits, after the metrics are computed",
    )

    @field_validator("unfreeze")
    @classmethod
    def _part(cls, value: str) -> str:
        if not re.fullmatch(r"all|[1-9]\d{0,5} (block|layer)s?", value):
            raise ValueError("allowed: all, 'N blocks' or 'N layers', such as '3 blocks'")
        return value


class Evaluation(_Section):
    """Evaluation of the predictions of the trained model."""

    confidence_target: Fraction = Field(
        0.95,
        description="lowest accuracy of confident predictions, guaranteed by a 95 % confidence bound if there are "
        "enough photos",
    )
    average: Literal["none"] | Average = Field(
        "none",
        description="additional accuracy with test-time augmentation: predictions averaged over the photo and its "
        "mirror image, or over ten crops",
    )


class Card(_Section):
    """Statements for the model card that cannot be derived from the run."""

    weights: str = Field("not stated", description="origin and licence of the pretrained weights")
    photos: str = Field("not stated", description="description of the photos")
