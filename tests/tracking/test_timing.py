import pytest

from headstand.tracking.timing import ResourceSample, Sampler, Steps, StepUsage, Stopwatch


def test_step_is_timed_and_logged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.345, 20.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    steps = Steps()
    with steps("features") as log:
        log("9 photos")
        log("all new")
    with steps("head"):
        pass
    assert steps.seconds == {"features": 2.35, "head": 0.0}
    assert capsys.readouterr().out == "features         2.4 s  9 photos; all new\nhead             0.0 s  \n"


def test_failed_step_is_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    steps = Steps()
    with pytest.raises(ValueError, match="broken"), steps("head"):
        raise ValueError("broken")
    assert steps.seconds == {}
    assert capsys.readouterr().out == ""


SAMPLES = [ResourceSample(0, 0, 100), ResourceSample(1, 2, 300), ResourceSample(2, 6, 200), ResourceSample(4, 6.5, 150)]
SPANS = [StepUsage("features", SAMPLES[0], SAMPLES[2]), StepUsage("head", SAMPLES[2], SAMPLES[3])]


def measured(spans: list[StepUsage], samples: list[ResourceSample]) -> Steps:
    steps = Steps()
    steps.spans, steps.sampler.samples, steps.sampler.cores = spans, samples, 4
    return steps


def test_resources_by_step() -> None:
    steps = measured(SPANS, SAMPLES)
    steps.parts, steps.photos = {"features": {"waiting for photos": 0.50001, "network": 1.4}}, {"features": 50}
    assert steps.resources() == {
        "cores": 4,
        "peak_memory": 300,
        "steps": {
            "features": {
                "seconds": 2,
                "cpu": 0.75,  # 6 of 8 seconds
                "peak_memory": 300,
                "parts": {"waiting for photos": 0.5, "network": 1.4},
                "photos": 50,
                "photos_per_second": 25.0,
            },
            "head": {"seconds": 2, "cpu": 0.062, "peak_memory": 200},
        },
    }


def test_step_without_duration_has_no_rate() -> None:
    steps = measured([StepUsage("head", SAMPLES[0], SAMPLES[0])], [])
    steps.photos = {"head": 3}
    assert steps.resources()["steps"]["head"] == {
        "seconds": 0, "cpu": 0.0, "peak_memory": 100, "photos": 3, "photos_per_second": None,
    }  # fmt: skip
    assert measured([], []).resources() == {"cores": 4, "peak_memory": 0, "steps": {}}


def test_samples_at_start_end_and_in_between() -> None:
    with Sampler(interval=0.001) as sampler:
        while len(sampler.samples) < 4:  # two of them from the thread
            pass
    times = [sample.time for sample in sampler.samples]
    assert times == sorted(times)
    assert sampler.samples[-1].cpu >= sampler.samples[0].cpu >= 0
    assert all(2**20 < sample.memory < 2**40 for sample in sampler.samples)
    count = len(sampler.samples)
    assert not sampler._thread.is_alive()
    assert len(sampler.samples) == count


def test_sampler_stops_after_an_error() -> None:
    sampler = Sampler()
    with pytest.raises(ValueError, match="broken"), sampler:
        raise ValueError("broken")
    assert not sampler._thread.is_alive()


def test_number_of_samples_is_bounded_and_the_peak_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(interval=1.0, most=8)
    memory = iter(range(10_000))

    class Info:
        @property
        def rss(self) -> int:
            number = next(memory)
            return 99_999 if number == 123 else number

    monkeypatch.setattr(sampler._process, "memory_info", Info)
    for _ in range(1000):
        sampler.sample()
        assert len(sampler.samples) <= 8
    assert max(sample.memory for sample in sampler.samples) == 99_999
    assert sampler.samples[0].memory == 0  # where it began
    assert sampler._interval >= 128
    assert [sample.time for sample in sampler.samples] == sorted(sample.time for sample in sampler.samples)


def test_parts_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.5, 1.75, 10.0, 10.25])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stopwatch = Stopwatch()
    with stopwatch("network"):
        pass
    with stopwatch("cache"):
        pass
    with pytest.raises(ValueError), stopwatch("network"):
        raise ValueError
    stopwatch.add("cache", 2.0)
    assert stopwatch.seconds == {"network": 1.25, "cache": 2.25}


def test_over_times_the_waiting_and_yields_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 5.0, 7.0, 9.0, 9.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    stopwatch = Stopwatch()
    assert list(stopwatch.over("photos", "ab")) == ["a", "b"]
    assert stopwatch.seconds == {"photos": 3.5}
