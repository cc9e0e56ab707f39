from headstand.diagnosis import InputWait, speed
from tests.diagnosis.runs import evidence, one


def test_a_network_that_waits_for_photos_is_input_bound() -> None:
    run = evidence(waits=(InputWait("features", 100.0, 70.0, 2000), InputWait("fine-tuning", 100.0, 49.0, 2000)))
    finding = one(speed.input_bound(run))
    assert (finding.code, finding.severity) == ("input-bound", "warning")
    assert finding.title == "The step 'features' is input-bound"
    assert finding.evidence == "the network waited 70 of 100 s for photos to be decoded, 20 photos/s"
    assert "--backbone.size" in finding.advice


def test_seconds_are_not_minded() -> None:
    assert not list(speed.input_bound(evidence(waits=(InputWait("features", 5.0, 4.9, 100),))))
