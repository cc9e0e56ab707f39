import pytest

from headstand.preparation.sources.split_names import beside_train, roles, split_of


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_are_recognised_by_many_names(split):
    argv = {
        "train": ["train", "Training", "TRAIN", "training_set", "trainset", "TrainSet", "train1", "seg_train"],
        "validation": ["val", "valid", "Validation", "dev", "VAL", "valid_set", "val_images", "validation set"],
        "test": ["test", "Testing", "test1", "test_set", "eval", "Test Images", "testset", "evaluation", "test2017"],
    }  # fmt: skip
    assert {name: split_of(name) for name in argv[split]} == dict.fromkeys(argv[split], split)


@pytest.mark.parametrize("name", ["", "tests", "contest", "train_test", "test tube", "steam train", "valley", "trains"])
def test_other_names_mean_no_split(name):
    assert split_of(name) == ""


def test_a_common_pattern_of_names_is_recognised_as_splits():
    names = ["asl_alphabet_train", "asl_alphabet_test", "steam train", "pred"]
    assert roles(names) == {
        "asl_alphabet_train": "train", "asl_alphabet_test": "test", "steam train": "", "pred": "unlabelled",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        ("rps rps-test-set", "train test"),
        ("Cells CellsTest cells_val cells_images_dev", "train test validation validation"),
        ("rps", ""),
        ("rps rps-train", ""),
        ("rps rps-train rps-test", ""),
        ("rps other-test", ""),
        ("rps old rps-test", ""),
        ("rps-test rps-val", ""),
        ("images test_images", ""),
        ("1 1test", ""),
    ],
)
def test_a_name_with_and_without_the_name_of_a_split(names, splits):
    assert list(beside_train(names.split()).values()) == splits.split()
