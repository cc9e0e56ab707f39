from headstand.tracking.resources import StepUsage, figures
from headstand.tracking.sampler import ResourceSample

SAMPLES = [ResourceSample(0, 0, 100), ResourceSample(1, 2, 300), ResourceSample(2, 6, 200), ResourceSample(4, 6.5, 150)]
SPANS = [StepUsage("features", SAMPLES[0], SAMPLES[2]), StepUsage("head", SAMPLES[2], SAMPLES[3])]


def test_what_the_steps_took() -> None:
    parts = {"features": {"waiting for photos": 0.50001, "network": 1.4}}
    assert figures(SPANS, SAMPLES, 4, parts, {"features": 50, "head": 0}) == {
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


def test_a_step_of_no_time_has_no_rate() -> None:
    step = StepUsage("head", SAMPLES[0], SAMPLES[0])
    assert figures([step], [], 4, {}, {"head": 3})["steps"]["head"] == {
        "seconds": 0, "cpu": 0.0, "peak_memory": 100, "photos": 3, "photos_per_second": None,
    }  # fmt: skip
    assert figures([], [], 4, {}, {}) == {"cores": 4, "peak_memory": 0, "steps": {}}
