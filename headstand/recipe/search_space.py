"""The section `search` of a recipe: the search space of the head and the search strategy."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from headstand.recipe.sections import Head, Positive, _Section

LAYERS, UNITS = "layers", "units"
"""Two parameters that together replace `inner`: the number of inner layers, and the size of each."""

MOST = 10_000
"""Largest number of heads in a grid."""

TRIALS = 30
"""Default number of trials of a TPE search."""


def parameters() -> tuple[str, ...]:
    """Returns the parameters that can be searched: the keys of the head, `layers` and `units`."""
    return (*Head.model_fields, LAYERS, UNITS)


def whole(name: str) -> bool:
    """Returns whether a parameter is an integer."""
    return name in (LAYERS, UNITS) or Head.model_fields[name].annotation is int


def with_overrides(head: Head, values: Mapping[str, Any]) -> Head:
    """Returns a copy of the head with some values replaced, validated as in a recipe.

    Args:
        head: the head.
        values: new values by parameter. `layers` without `units` repeats the head's first inner layer; `units` without
            `layers` keeps the number of layers, at least one. Settings without effect (momentum of Adam, batch
            normalisation without inner layers) are reset.

    Raises:
        ValueError: a value is not allowed (pydantic's ValidationError is one).
    """
    fields = {key: value for key, value in values.items() if key not in (LAYERS, UNITS)}
    if LAYERS in values or UNITS in values:
        layers = values.get(LAYERS, max(1, len(head.inner)))
        if layers and UNITS not in values and not head.inner:
            raise ValueError(f"{layers} inner layers have no size: search {UNITS!r} too, or set head.inner")
        fields["inner"] = (values.get(UNITS, head.inner[0] if head.inner else 0),) * layers
    return Head.model_validate(_without_unused({**head.model_dump(), **fields}))


def _without_unused(fields: dict[str, Any]) -> dict[str, Any]:
    """Resets settings that have no effect with the others: a search over optimizers may search momentum too."""
    if fields["optimizer"] not in ("sgd", "rmsprop"):
        fields["momentum"] = 0.0
    if fields["optimizer"] != "sgd" or not fields["momentum"]:
        fields["nesterov"] = False
    if fields["optimizer"] == "lbfgs":
        fields |= {"inner": (), "activation": ("relu",), "dropout": 0.0, "label_smoothing": 0.0, "loss_from": "logits"}
    if not fields["inner"]:
        fields["batch_norm"] = False
    return fields


def _known(name: str) -> str:
    if name not in parameters():
        raise ValueError(f"not a parameter of the head; allowed: {', '.join(parameters())}")
    return name


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Parameter = Annotated[str, AfterValidator(_known)]
Value = Annotated[Any, BeforeValidator(_hashable)]


def _check_value(name: str, value: Any) -> None:
    """Raises a ValueError if no head can have this value of the parameter."""
    if name in (LAYERS, UNITS):
        least = 0 if name == LAYERS else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 65_536:
            raise ValueError(f"{name} = {value!r} is not an integer from {least} to 65536")
        return
    try:
        Head.model_validate({name: value})
    except ValidationError as error:
        # Errors without a location concern combinations with other values, which are only defaults here.
        if any(item["loc"] for item in error.errors()):
            raise


class Stage(_Section):
    """One stage of a staged search: one parameter takes each value, the others keep their best values."""

    parameter: Parameter = Field(description=f"a key of head, {LAYERS} or {UNITS}")
    values: tuple[Value, ...] = Field(min_length=1, description="its values, in the order of the trials")
    finalists: Annotated[int, Field(ge=0)] = Field(
        0, description="number of best trials that are repeated with finalist_epochs"
    )
    finalist_epochs: Positive | None = Field(None, description="epochs of the repeated trials")

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        for value in self.values:
            _check_value(self.parameter, value)
        if bool(self.finalists) != bool(self.finalist_epochs):
            raise ValueError("finalists and finalist_epochs must be set together")
        if self.finalists and self.parameter == "epochs":
            raise ValueError("a stage that searches epochs cannot have finalists")
        return self


class Dimension(_Section):
    """Values of one parameter: a list, or a range from `low` to `high`, both included."""

    values: tuple[Value, ...] = Field((), description="the values, instead of a range")
    low: float | None = Field(None, description="lowest value of a range")
    high: float | None = Field(None, description="highest value of a range")
    log: bool = Field(False, description="logarithmic scale, for learning rates and sizes")
    step: float | None = Field(None, gt=0, description="distance between the values of a range")

    @model_validator(mode="after")
    def _either(self) -> "Dimension":
        bounds = (self.low, self.high)
        if bool(self.values) == (bounds != (None, None)) or (None in bounds and not self.values):
            raise ValueError("needs either values = [...] or both low and high")
        if self.values and (self.log or self.step):
            raise ValueError("log and step need a range with low and high")
        if self.low is None or self.high is None:
            if any(value in self.values[:index] for index, value in enumerate(self.values)):
                raise ValueError("values contains a duplicate")
            return self
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a range with log must start above 0 and have no step")
        if self.step and abs((steps := (self.high - self.low) / self.step) - round(steps)) > 1e-6:
            raise ValueError(f"from low = {self.low:g}, steps of {self.step:g} do not reach high = {self.high:g}")
        return self

    def check(self, name: str) -> None:
        """Checks that the parameter can have the values.

        Raises:
            ValueError: a value is not allowed.
        """
        for value in self.values:
            _check_value(name, value)
        if self.low is None or self.high is None:
            return
        if not whole(name) and Head.model_fields[name].annotation is not float:
            raise ValueError(f"{name} is not a number: it needs values = [...], not a range")
        if whole(name) and any(number % 1 for number in (self.low, self.high, self.step or 1)):
            raise ValueError(f"{name} is an integer: its low, high and step must be integers too")
        for bound in self.ends(name):
            _check_value(name, bound)

    def ends(self, name: str) -> tuple[Any, ...]:
        """Returns the values; for a range, the lowest and the highest."""
        if self.low is None or self.high is None:
            return self.values
        return (int(self.low), int(self.high)) if whole(name) else (self.low, self.high)

    def listed(self, name: str) -> tuple[Any, ...]:
        """Returns all values, for a grid.

        Raises:
            ValueError: it is a range without steps.
        """
        if self.low is None or self.high is None:
            return self.values
        step = self.step or (1 if whole(name) and not self.log else None)
        if step is None:
            raise ValueError(f"a grid needs the values of {name}: values = [...], or low, high and step")
        numbers = [self.low + index * step for index in range(round((self.high - self.low) / step) + 1)]
        # Rounded, because 0.1 + 2 * 0.1 is not 0.3 in floating point.
        return tuple(round(number) if whole(name) else float(f"{number:.12g}") for number in numbers)


class Job(_Section):
    """One search over several parameters."""

    parameters: dict[Parameter, Dimension] = Field({}, description="grid, tpe: search space, by parameter of the head")
    trials: Positive | None = Field(None, description=f"tpe: number of trials; default {TRIALS}")
    pruning: bool = Field(
        True, description="tpe: stop a trial early if it is worse than the median of the others at that epoch"
    )
    warm_start: bool | str = Field(
        False,
        description="tpe: start from the trials of the previous job (true) or of a finished run (its folder) that lie "
        "in this search space",
    )

    @field_validator("warm_start", mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        """Parses the text of a command line."""
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> "Job":
        for name, dimension in self.parameters.items():
            try:
                dimension.check(name)
            except ValueError as error:
                raise ValueError(f"parameter {name}: {_described(error)}") from None
        if "inner" in self.parameters and {LAYERS, UNITS} & set(self.parameters):
            raise ValueError(f"inner contradicts {LAYERS} and {UNITS}: search either inner or these")
        return self

    def grid(self) -> list[dict[str, Any]]:
        """Returns all combinations of the values; the last parameter changes fastest.

        Raises:
            ValueError: a range has no steps, or there are more than `MOST` combinations.
        """
        combinations: list[dict[str, Any]] = [{}]
        for name, dimension in self.parameters.items():
            values = dimension.listed(name)
            if len(combinations) * len(values) > MOST:
                raise ValueError(f"a grid of more than {MOST} heads")
            combinations = [{**values_, name: value} for values_ in combinations for value in values]
        return combinations


class Search(Job):
    """Hyperparameter search for the head.

    staged: one parameter after the other, as listed in `stages`; grid: all combinations of the `parameters`' values;
    tpe: `trials` heads, sampled with the tree-structured Parzen estimator (Bergstra et al. 2011); none: the head is
    trained as configured. `jobs` are several grids or TPE searches, one after the other. A grid or TPE search without
    `parameters` searches the values of the `stages`.
    """

    strategy: Literal["staged", "grid", "tpe", "none"] = Field(
        "staged",
        description="staged: one parameter after the other; grid: all combinations; tpe: tree-structured Parzen "
        "estimator; none: no search",
    )
    selection: Literal["log_loss", "accuracy"] = Field(
        "log_loss",
        description="log_loss: heads and epochs are selected by log loss, the result is compared with logistic "
        "regression by cross-validation, and the better one is trained again on train and validation; accuracy: by "
        "validation accuracy alone",
    )
    stages: tuple[Stage, ...] = Field((), description="staged: the parameters and their values, in order")
    jobs: tuple[Job, ...] = Field(
        (), description="grid, tpe: several searches one after the other, instead of parameters and trials"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Search":
        if self.strategy == "none":
            return self
        if self.strategy == "staged":
            if self.parameters or self.jobs:
                raise ValueError("parameters and jobs need strategy = 'grid' or 'tpe'")
            if self.trials or self.warm_start:
                raise ValueError("trials and warm_start need strategy = 'tpe'")
            return self
        if self.jobs and (self.parameters or self.trials or self.warm_start):
            raise ValueError("with jobs, parameters, trials and warm_start must be set in each job")
        for number, job in enumerate(self.plan, start=1):
            where = f"job {number}: " if self.jobs else ""
            if not job.parameters:
                raise ValueError(f"{where}strategy {self.strategy!r} needs parameters")
            if self.strategy == "grid":
                if job.trials or job.warm_start:
                    raise ValueError(f"{where}trials and warm_start need strategy = 'tpe'")
                try:
                    job.grid()
                except ValueError as error:
                    raise ValueError(f"{where}{error}") from None
            if job.warm_start is True and number == 1:
                raise ValueError(f"{where}warm_start = true, but there is no previous job: name a run's folder")
        return self

    @property
    def plan(self) -> tuple[Job, ...]:
        """The jobs of a grid or TPE search, at least one; none if the strategy is `none`."""
        if self.strategy == "none":
            return ()
        if self.jobs:
            return self.jobs
        values: dict[str, list[Any]] = {}
        for stage in self.stages if not self.parameters else ():
            known = values.setdefault(stage.parameter, [])
            known += [value for value in stage.values if value not in known]
        dimensions = self.parameters or {name: Dimension(values=tuple(found)) for name, found in values.items()}
        return (Job(parameters=dimensions, trials=self.trials, pruning=self.pruning, warm_start=self.warm_start),)

    def check(self, head: Head) -> None:
        """Checks the combinations of searched values with the head's other values, as far as they are known.

        Raises:
            ValueError: a combination is not allowed.
        """
        if self.strategy == "staged":
            for stage in self.stages:
                heads = [with_overrides(head, {stage.parameter: value}) for value in stage.values]
                head = max(heads, key=lambda each: len(each.inner))
            return
        for job in self.plan:
            if self.strategy == "grid":
                for values in job.grid():
                    with_overrides(head, values)
            for end in (0, -1):
                with_overrides(head, {name: dimension.ends(name)[end] for name, dimension in job.parameters.items()})


def _described(error: ValueError) -> str:
    """Returns the error in one line; pydantic's own text has several."""
    if hasattr(error, "errors"):
        return "; ".join(f"{item['input']!r}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors())
    return str(error)
