import pytest

from headstand.heads import KEYS, describe, setting_text
from headstand.recipe import Head


def test_keys_are_all_settings_of_a_head() -> None:
    assert set(KEYS) == set(Head.model_fields)
    assert len(KEYS) == len(set(KEYS))
    assert KEYS[:2] == ("learning_rate", "inner")


def test_describe_contains_settings_that_differ_from_the_default() -> None:
    head = Head(inner=(9, 8), activation=("relu", "selu"), batch_norm=True, optimizer="sgd", momentum=0.9)
    assert describe(head) == (
        "learning_rate=0.001 inner=9+8 dropout=0 activation=relu+selu epochs=10 batch_size=20"
        " batch_norm=yes momentum=0.9 optimizer=sgd"
    )


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("inner", (), "none"),
        ("inner", (5,), "5"),
        ("learning_rate", 1e-5, "1e-05"),
        ("class_weights", False, "no"),
        ("weight_decay", None, "None"),
        ("schedule", "cosine", "cosine"),
        ("patience", 3, "3"),
    ],
)
def test_setting_text(key: str, value: object, text: str) -> None:
    assert setting_text(Head(**{key: value}), key) == text
