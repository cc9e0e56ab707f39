import pytest

from headstand.prepare.sources.split_names import roles, split_of


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_splits_are_known_by_many_names(split):
    words = {
        "train": ["train", "Training", "TRAIN", "training_set", "trainset", "TrainSet", "train1", "seg_train"],
        "validation": ["val", "valid", "Validation", "dev", "VAL", "valid_set", "val_images", "validation set"],
        "test": ["test", "Testing", "test1", "test_set", "eval", "Test Images", "testset", "evaluation", "test2017"],
    }  # fmt: skip
    assert {word: split_of(word) for word in words[split]} == dict.fromkeys(words[split], split)


@pytest.mark.parametrize("name", ["", "tests", "contest", "train_test", "test tube", "steam train", "valley", "trains"])
def test_other_names_mean_no_split(name):
    assert split_of(name) == ""


def test_one_pattern_of_names_means_splits():
    names = ["asl_alphabet_train", "asl_alphabet_test", "steam train", "pred"]
    assert roles(names) == {
        "asl_alphabet_train": "train", "asl_alphabet_test": "test", "steam train": "", "pred": "unlabelled",
    }  # fmt: skip
