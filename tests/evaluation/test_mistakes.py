import numpy as np

from headstand.evaluation import mistakes as room
from headstand.prepare.manifest import Photo


def test_the_surest_wrong_answers_come_first_and_not_all_of_them() -> None:
    count = 30
    photos = [Photo(f"test/a/{n}.jpg", "a", "test", "0" * 64, 9, 9, n) for n in range(count)]
    sure = np.linspace(0.4, 0.9, count)
    probabilities = np.stack([1 - sure - 0.05, sure, np.full(count, 0.05)], axis=1)
    labels = np.where(np.arange(count) % 2, 0, probabilities.argmax(axis=1))
    found = room.mistakes(photos, probabilities, labels, ("a", "b", "c"))
    wrong = [n for n in range(count) if n % 2 and sure[n] > 0.475]
    assert [one.photo for one in found] == [photos[n] for n in reversed(wrong)][: room.MOST]
    assert (found[0].truth, found[0].answer) == ("a", "b")
    assert found[0].confidence == sure[29]
    assert found[0].own == probabilities[29, 0]


def test_no_mistakes() -> None:
    photos = [Photo("test/a/1.jpg", "a", "test", "0" * 64, 9, 9, 1)]
    assert room.mistakes(photos, np.array([[0.9, 0.1]]), np.array([0]), ("a", "b")) == []
