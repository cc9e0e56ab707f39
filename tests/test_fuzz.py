import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from headstand.images import ImageError, decode
from tests.images.test_encoded import SECONDS
from tests.mutations import SEEDS, mended, mutations

CODES = ("corrupt_image", "not_an_image", "too_large")


def outcome(data: bytes) -> str:
    """`decoded`, or the code of the refusal; anything else that happens fails the test."""
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


def test_the_seeds_decode_and_their_check_sums_are_right() -> None:
    for data in SEEDS:
        assert outcome(data) == "decoded" and mended(data) == data


@given(mutations())
@settings(max_examples=300)
def test_a_damaged_image_gives_pixels_or_an_image_error(data: bytes) -> None:
    outcome(data)


@pytest.mark.slow
def test_five_thousand_damaged_images_give_pixels_or_an_image_error() -> None:
    seen: Counter[str] = Counter()

    @given(mutations())
    @settings(max_examples=5_000, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
    def run(data: bytes) -> None:
        seen[outcome(data)] += 1

    run()
    # A fuzzer that reaches one outcome only tests one check.
    assert min(seen["decoded"], seen["corrupt_image"], seen["not_an_image"]) > 100, seen
