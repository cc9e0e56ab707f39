import pytest

from headstand.tracking.sampler import Sampler


def test_it_looks_at_beginning_and_end_and_meanwhile() -> None:
    with Sampler(interval=0.001) as sampler:
        while len(sampler.samples) < 4:  # two of the thread's own
            pass
    times = [sample.time for sample in sampler.samples]
    assert times == sorted(times)
    assert sampler.samples[-1].cpu >= sampler.samples[0].cpu >= 0
    assert all(2**20 < sample.memory < 2**40 for sample in sampler.samples)
    count = len(sampler.samples)
    assert not sampler._thread.is_alive()
    assert len(sampler.samples) == count


def test_it_ends_with_an_error_too() -> None:
    sampler = Sampler()
    with pytest.raises(ValueError, match="broken"), sampler:
        raise ValueError("broken")
    assert not sampler._thread.is_alive()


def test_a_long_run_needs_no_more_room_and_keeps_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(interval=1.0, most=8)
    memory = iter(range(10_000))

    class Info:
        @property
        def rss(self) -> int:
            number = next(memory)
            return 99_999 if number == 123 else number

    monkeypatch.setattr(sampler._process, "memory_info", Info)
    for _ in range(1000):
        sampler.look()
        assert len(sampler.samples) <= 8
    assert max(sample.memory for sample in sampler.samples) == 99_999
    assert sampler.samples[0].memory == 0  # where it began
    assert sampler._interval >= 128
    assert [sample.time for sample in sampler.samples] == sorted(sample.time for sample in sampler.samples)
