"""The section `search` of a recipe: which heads are tried, and by which strategy."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from headstand.recipe.sections import Head, Positive, _Section

LAYERS, UNITS = "layers", "units"
"""Two parameters that together say `inner`: how many inner layers, and the size of each of them."""

MOST = 10_000
"""Heads in a grid; more is a slip of the pen."""

TRIALS = 30
"""Trials of a TPE search that does not say how many."""


def parameters() -> tuple[str, ...]:
    """What can be searched: every key of the head, and number and size of the inner layers by themselves."""
    return (*Head.model_fields, LAYERS, UNITS)


def whole(name: str) -> bool:
    """Whether a parameter is a whole number."""
    return name in (LAYERS, UNITS) or Head.model_fields[name].annotation is int


def with_overrides(head: Head, values: Mapping[str, Any]) -> Head:
    """The head with some values changed, validated like a recipe's.

    Args:
        head: what the other values are taken from.
        values: by parameter. `layers` without `units` repeats the head's first inner layer; `units` without `layers`
            keeps their number, at least one. What means nothing beside the other values (momentum of Adam, batch
            normalisation without inner layers) is left out.

    Raises:
        ValueError: a value that the head cannot have (pydantic's ValidationError is one).
    """
    fields = {key: value for key, value in values.items() if key not in (LAYERS, UNITS)}
    if LAYERS in values or UNITS in values:
        layers = values.get(LAYERS, max(1, len(head.inner)))
        if layers and UNITS not in values and not head.inner:
            raise ValueError(f"{layers} inner layers of which size? Search {UNITS!r} too, or give head.inner a size")
        fields["inner"] = (values.get(UNITS, head.inner[0] if head.inner else 0),) * layers
    return Head.model_validate(_applying({**head.model_dump(), **fields}))


def _applying(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what means nothing beside the other values: a search over optimizers may well search momentum too."""
    if fields["optimizer"] not in ("sgd", "rmsprop"):
        fields["momentum"] = 0.0
    if fields["optimizer"] != "sgd" or not fields["momentum"]:
        fields["nesterov"] = False
    if not fields["inner"]:
        fields["batch_norm"] = False
    return fields


def _known(name: str) -> str:
    if name not in parameters():
        raise ValueError(f"no parameter of the head; there are {', '.join(parameters())}")
    return name


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Parameter = Annotated[str, AfterValidator(_known)]
Value = Annotated[Any, BeforeValidator(_hashable)]


def _check_value(name: str, value: Any) -> None:
    """Refuse what no head can have."""
    if name in (LAYERS, UNITS):
        least = 0 if name == LAYERS else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 65_536:
            raise ValueError(f"{name} = {value!r} is no whole number from {least} to 65536")
        return
    try:
        Head.model_validate({name: value})
    except ValidationError as error:
        # Whether it goes with the head's other values is another question: here those are the defaults.
        if any(item["loc"] for item in error.errors()):
            raise


class Stage(_Section):
    """One step of a staged search: a parameter is tried at each value, the others stay at their best."""

    parameter: Parameter
    values: tuple[Value, ...] = Field(min_length=1)
    finalists: Annotated[int, Field(ge=0)] = Field(0, description="how many of the best are tried again, for longer")
    finalist_epochs: Positive | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Stage":
        for value in self.values:
            _check_value(self.parameter, value)
        if bool(self.finalists) != bool(self.finalist_epochs):
            raise ValueError("finalists and finalist_epochs go together")
        if self.finalists and self.parameter == "epochs":
            raise ValueError("a stage that tries epochs has no finalists")
        return self


class Dimension(_Section):
    """What one parameter may be: some values, or a range from `low` to `high`, both included."""

    values: tuple[Value, ...] = Field((), description="the values to try, in place of a range")
    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="tenfold steps count alike, as rates and sizes want it")
    step: float | None = Field(None, gt=0, description="distance of the values in a range")

    @model_validator(mode="after")
    def _either(self) -> "Dimension":
        bounds = (self.low, self.high)
        if bool(self.values) == (bounds != (None, None)) or (None in bounds and not self.values):
            raise ValueError("needs either values = [...] or both low and high")
        if self.values and (self.log or self.step):
            raise ValueError("log and step belong to a range, with low and high")
        if self.low is None or self.high is None:
            if any(value in self.values[:place] for place, value in enumerate(self.values)):
                raise ValueError("a value stands twice")
            return self
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("a range with log starts above 0 and has no step")
        if self.step and abs((steps := (self.high - self.low) / self.step) - round(steps)) > 1e-6:
            raise ValueError(f"from low = {self.low:g}, steps of {self.step:g} do not meet high = {self.high:g}")
        return self

    def check(self, name: str) -> None:
        """Refuse a range or value that the parameter cannot have.

        Raises:
            ValueError: names the parameter and what it may be.
        """
        for value in self.values:
            _check_value(name, value)
        if self.low is None or self.high is None:
            return
        if not whole(name) and Head.model_fields[name].annotation is not float:
            raise ValueError(f"{name} is no number: it takes values = [...], not a range")
        if whole(name) and any(number % 1 for number in (self.low, self.high, self.step or 1)):
            raise ValueError(f"{name} is a whole number: so are its low, high and step")
        for bound in self.ends(name):
            _check_value(name, bound)

    def ends(self, name: str) -> tuple[Any, ...]:
        """Its values; of a range, the lowest and the highest."""
        if self.low is None or self.high is None:
            return self.values
        return (int(self.low), int(self.high)) if whole(name) else (self.low, self.high)

    def listed(self, name: str) -> tuple[Any, ...]:
        """Every value, for a grid.

        Raises:
            ValueError: a range without steps has no end of them.
        """
        if self.low is None or self.high is None:
            return self.values
        step = self.step or (1 if whole(name) and not self.log else None)
        if step is None:
            raise ValueError(f"a grid needs the values of {name}: values = [...], or low, high and step")
        numbers = [self.low + place * step for place in range(round((self.high - self.low) / step) + 1)]
        # 0.1 + 2 * 0.1 is not 0.3 to a computer, and it is 0.3 that was meant.
        return tuple(round(number) if whole(name) else float(f"{number:.12g}") for number in numbers)


class Job(_Section):
    """One search over some parameters at once."""

    parameters: dict[Parameter, Dimension] = Field({}, description="grid, tpe: what is tried, by the head's key")
    trials: Positive | None = Field(None, description=f"tpe: how many heads are tried, {TRIALS} where nothing is said")
    pruning: bool = Field(True, description="tpe: stop a head early that is worse than half of the others were then")
    warm_start: bool | str = Field(
        False,
        description="tpe: learn from the job before (true) or from a finished run (its folder): from those of its "
        "trials that lie in the ranges of this one",
    )

    @field_validator("warm_start", mode="before")
    @classmethod
    def _said(cls, value: Any) -> Any:
        """What the command line says is text."""
        return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _possible(self) -> "Job":
        for name, dimension in self.parameters.items():
            try:
                dimension.check(name)
            except ValueError as error:
                raise ValueError(f"parameter {name}: {_told(error)}") from None
        twice = {"inner", LAYERS} <= set(self.parameters) or {"inner", UNITS} <= set(self.parameters)
        if twice:
            raise ValueError(f"inner says what {LAYERS} and {UNITS} say too: search the one or the others")
        return self

    def grid(self) -> list[dict[str, Any]]:
        """Every combination of the values, the last parameter changing fastest.

        Raises:
            ValueError: a range without steps, or more than `MOST`.
        """
        combinations: list[dict[str, Any]] = [{}]
        for name, dimension in self.parameters.items():
            values = dimension.listed(name)
            if len(combinations) * len(values) > MOST:
                raise ValueError(f"a grid of more than {MOST} heads")
            combinations = [{**values_, name: value} for values_ in combinations for value in values]
        return combinations


class Search(Job):
    """What is tried before the head is chosen.

    staged: one parameter after the other, `stages`; grid: every combination of the `parameters`' values; tpe: `trials`
    heads, each drawn where those before it did well (Bergstra et al. 2011); none: nothing, the head is trained as it
    stands. `jobs` are several grids or searches by TPE in turn. A grid or TPE over a recipe that has `stages` only
    tries what the stages name.
    """

    strategy: Literal["staged", "grid", "tpe", "none"] = "staged"
    stages: tuple[Stage, ...] = Field((), description="staged: what is tried, one after the other")
    jobs: tuple[Job, ...] = Field((), description="grid, tpe: several in turn, in place of parameters and trials")

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
            raise ValueError("with jobs, parameters, trials and warm_start belong into each job")
        for place, job in enumerate(self.plan, start=1):
            where = f"job {place}: " if self.jobs else ""
            if not job.parameters:
                raise ValueError(f"{where}strategy {self.strategy!r} needs parameters")
            if self.strategy == "grid":
                if job.trials or job.warm_start:
                    raise ValueError(f"{where}trials and warm_start need strategy = 'tpe'")
                try:
                    job.grid()
                except ValueError as error:
                    raise ValueError(f"{where}{error}") from None
            if job.warm_start is True and place == 1:
                raise ValueError(f"{where}warm_start = true, and there is no job before it; name a run's folder")
        return self

    @property
    def plan(self) -> tuple[Job, ...]:
        """The jobs of a grid or TPE search, at least one; none of a search for nothing."""
        if self.strategy == "none":
            return ()
        if self.jobs:
            return self.jobs
        tried: dict[str, list[Any]] = {}
        for stage in self.stages if not self.parameters else ():
            known = tried.setdefault(stage.parameter, [])
            known += [value for value in stage.values if value not in known]
        dimensions = self.parameters or {name: Dimension(values=tuple(values)) for name, values in tried.items()}
        return (Job(parameters=dimensions, trials=self.trials, pruning=self.pruning, warm_start=self.warm_start),)

    def check(self, head: Head) -> None:
        """Refuse what cannot be tried from this head, as far as it can be told beforehand.

        Raises:
            ValueError: a value that does not go with the head's others.
        """
        if self.strategy == "staged":
            for stage in self.stages:
                tried = [with_overrides(head, {stage.parameter: value}) for value in stage.values]
                head = max(tried, key=lambda each: len(each.inner))
            return
        for job in self.plan:
            if self.strategy == "grid":
                for values in job.grid():
                    with_overrides(head, values)
            for place in (0, -1):
                with_overrides(head, {name: dimension.ends(name)[place] for name, dimension in job.parameters.items()})


def _told(error: ValueError) -> str:
    """What is wrong, in a line: pydantic's own text has several."""
    if hasattr(error, "errors"):
        return "; ".join(f"{item['input']!r}: {item['msg'].removeprefix('Value error, ')}" for item in error.errors())
    return str(error)
