import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from headstand.images import ImageError, decode
from tests.images.test_encoded import SECONDS
from tests.mutations import SEEDS, mutations, with_valid_checksums

CODES = ("corrupt_image", "not_an_image", "too_large")


def outcome(data: bytes) -> str:
    """Returns `decoded` or the code of the image error; another exception or a timeout fails the test."""
    start = time.process_time()
    try:
        pixels = decode(data, 16)
        assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
        return "decoded"
    except ImageError as error:
        assert error.code in CODES and str(error) and "\n" not in str(error) and len(str(error)) < 300
        return error.code
    finally:
        assert time.process_time() - start < SECONDS


def test_the_seeds_decode_and_have_valid_checksums() -> None:
    for data in SEEDS:
        assert outcome(data) == "decoded" and with_valid_checksums(data) == data


@given(mutations())
@settings(max_examples=300)
def test_a_damaged_image_gives_pixels_or_an_image_error(data: bytes) -> None:
    outcome(data)


@pytest.mark.slow
def test_five_thousand_damaged_images_give_pixels_or_an_image_error() -> None:
    outcomes: Counter[str] = Counter()

    @given(mutations())
    @settings(max_examples=5_000, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
    def run(data: bytes) -> None:
        outcomes[outcome(data)] += 1

    run()
    # A fuzzer that always has the same outcome tests only one check.
    assert min(outcomes["decoded"], outcomes["corrupt_image"], outcomes["not_an_image"]) > 100, outcomes
