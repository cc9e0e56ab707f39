import multiprocessing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from headstand.errors import HeadstandError
from headstand.images import decode
from headstand.poses import rendered
from headstand.poses.rendered import KEYPOINTS, POSES, draw, fetch
from headstand.recipe import Source


def test_the_six_poses_in_natural_order():
    assert POSES == ("chair", "cobra", "downdog", "goddess", "tree", "warrior")


def test_a_drawing_has_the_promised_shapes_and_content():
    drawing = draw("goddess", 3, 1, 96)
    assert drawing.image.shape == (96, 96, 3)
    assert drawing.image.dtype == np.uint8
    assert drawing.mask.shape == (96, 96)
    assert drawing.mask.dtype == np.bool_
    assert drawing.keypoints.shape == (17, 3)
    assert drawing.keypoints.dtype == np.float32
    assert 0.03 < drawing.mask.mean() < 0.5
    assert set(np.unique(drawing.keypoints[:, 2])) <= {0.0, 1.0}
    assert drawing.image.std() > 5


def test_the_same_arguments_give_the_same_pixels_in_any_order_and_process():
    keys = [("tree", 1, 0), ("chair", 1, 1), ("tree", 2, 0), ("tree", 1, 1)]
    here = [draw(*key, 48).image.tobytes() for key in keys]
    assert [draw(*key, 48).image.tobytes() for key in reversed(keys)] == here[::-1]
    # `draw` itself, so that the process need not import this module.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        drawings = pool.starmap(draw, [(*key, 48) for key in keys[1:]])
    assert [drawing.image.tobytes() for drawing in drawings] == here[1:]
    assert len(set(here)) == len(keys)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(POSES), st.integers(0, 2**40), st.integers(0, 10**6), st.integers(16, 80))
def test_every_drawing_is_whole(pose, seed, index, size):
    drawing = draw(pose, seed, index, size)
    assert drawing.image.shape == (size, size, 3)
    assert np.isfinite(drawing.keypoints).all()
    shown = drawing.keypoints[drawing.keypoints[:, 2] == 1]
    assert ((shown[:, :2] >= 0) & (shown[:, :2] < size)).all()


def test_a_joint_that_is_shown_lies_on_the_body():
    on_body = []
    for pose in POSES:
        for index in range(3):
            drawing = draw(pose, 5, index, 128)
            near = np.asarray(Image.fromarray(drawing.mask).convert("L").resize((32, 32), Image.Resampling.BOX)) > 0
            shown = drawing.keypoints[drawing.keypoints[:, 2] == 1, :2].astype(int) // 4
            assert len(shown) >= 4
            on_body += list(near[shown[:, 1], shown[:, 0]])
    assert np.mean(on_body) > 0.99


def test_left_and_right_are_the_persons_own():
    """Seen from the front the person's left is at the right of the photo; from behind the face is not seen."""
    order = []
    for index in range(12):
        points = dict(zip(KEYPOINTS, draw("tree", 8, index, 64).keypoints, strict=True))
        if points["nose"][2] and points["left_eye"][2] and points["right_eye"][2]:
            order.append(points["left_shoulder"][0] > points["right_shoulder"][0])
    assert len(order) >= 4
    assert all(order)


def test_each_pose_has_its_shape():
    """What makes the pose, read off the keypoints: y grows downwards."""
    for index in range(4):
        points = {pose: dict(zip(KEYPOINTS, draw(pose, 2, index, 64).keypoints[:, 1], strict=True)) for pose in POSES}
        hips = {pose: (p["left_hip"] + p["right_hip"]) / 2 for pose, p in points.items()}
        height = {pose: np.ptp(list(p.values())) for pose, p in points.items()}
        for pose in ("chair", "goddess", "tree", "warrior"):
            assert points[pose]["nose"] < hips[pose] < max(points[pose]["left_ankle"], points[pose]["right_ankle"])
        down = points["downdog"]
        assert hips["downdog"] < min(down["nose"], down["left_shoulder"], down["left_wrist"], down["left_ankle"])
        assert points["cobra"]["nose"] < hips["cobra"]
        feet = {pose: abs(p["left_ankle"] - p["right_ankle"]) / height[pose] for pose, p in points.items()}
        assert feet["tree"] > 0.15
        assert feet["chair"] < 0.15


def test_without_a_body_only_the_body_and_its_shadow_are_gone():
    for pose, index in (("warrior", 0), ("cobra", 4)):
        whole, empty = draw(pose, 6, index, 64), draw(pose, 6, index, 64, body=False)
        assert not empty.mask.any()
        assert not empty.keypoints.any()
        same = (whole.image == empty.image).all(-1)
        assert same.mean() > 0.3  # the rest of the picture
        assert same[~whole.mask][:64].mean() > 0.9  # the top row is far from the floor's shadow
        assert same[whole.mask].mean() < 0.1


def _features(pose, index, body):
    """Strength of edges in four directions on an 8 x 8 grid: what a simple classifier sees of shapes."""
    grey = np.asarray(Image.fromarray(draw(pose, 11, index, 64, body=body).image).convert("L"), float)
    down, across = np.gradient(grey)
    strength, direction = np.hypot(down, across), np.arctan2(down, across) % np.pi
    turned = [np.abs((direction - k * np.pi / 4 + np.pi / 2) % np.pi - np.pi / 2) < np.pi / 8 for k in range(4)]
    return np.sqrt([(strength * t).reshape(8, 8, 8, 8).mean((1, 3)) for t in turned]).ravel()


def _accuracy(body, per_class=40):
    labels = np.repeat(np.arange(len(POSES)), per_class)
    data = np.array([_features(pose, index, body) for pose in POSES for index in range(per_class)])
    model = make_pipeline(StandardScaler(), PCA(40, random_state=0), LogisticRegression(C=0.1, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    with threadpool_limits(1):  # matrices this small only wait for more threads
        return float((cross_val_predict(model, data, labels, cv=folds) == labels).mean())


@pytest.mark.slow
def test_nothing_but_the_body_tells_the_pose():
    """Of 240 photos guessed at 1/6 each, 60 or more (0.25) come out right one time in a thousand (binomial)."""
    assert _accuracy(body=False) < 0.25
    assert _accuracy(body=True) > 0.33  # with bodies: twice as good as guessing, at the least


def test_bodies_are_framed_alike():
    """The longer side of the bounding box says nothing of the pose."""
    sides = []
    for pose in POSES:
        boxes = []
        for index in range(8):
            rows, columns = np.nonzero(draw(pose, 7, index, 48).mask)
            boxes.append(max(np.ptp(rows), np.ptp(columns)) / 48)
        sides.append(np.median(boxes))
    assert min(sides) > 0.55
    assert max(sides) - min(sides) < 0.15


def test_a_drawing_has_nothing_of_what_lay_in_memory_before(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw("tree", 7, 0, 48)
    monkeypatch.setattr(np, "empty_like", lambda array: np.full_like(array, np.inf))
    assert np.array_equal(draw("tree", 7, 0, 48).image, expected.image)  # and nothing warns of what it multiplies


@pytest.mark.parametrize(
    ("arguments", "argv"),
    [
        (("lotus", 1, 0), "unknown pose 'lotus'.*chair, cobra"),
        (("tree", -1, 0), "seed = -1: "),
        (("tree", 1, -2), "index = -2: "),
        (("tree", 1, 0, 8), "size = 8: "),
        (("tree", 1, 0, 10**6), "size = 1000000: "),
    ],
)
def test_impossible_drawings_get_a_clear_sentence(arguments, argv):
    with pytest.raises(HeadstandError, match=argv):
        draw(*arguments)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def _tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_fetch_writes_class_folders(cache):
    folder = fetch(Source(kind="rendered", per_class=2, size=32), 4)
    assert folder == cache / "rendered" / f"{rendered.RENDERER}-4-2-32"
    assert sorted(_tree(cache / "rendered")) == sorted(
        f"{folder.name}/{pose}/{pose}{index:04d}.jpg" for pose in POSES for index in range(2)
    )
    image = decode(folder / "tree" / "tree0001.jpg")
    assert image.shape == (32, 32, 3)
    assert np.abs(image.astype(int) - draw("tree", 4, 1, 32).image).mean() < 6


def test_fetch_goes_on_where_it_stopped(cache, monkeypatch):
    source = Source(kind="rendered", per_class=2, size=24)
    drawn, original = [], rendered.draw

    def counted(*arguments):
        if len(drawn) == 5:
            raise KeyboardInterrupt
        drawn.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(rendered, "draw", counted)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, 1)
    half = _tree(cache)
    assert len(half) == 5
    monkeypatch.setattr(rendered, "draw", lambda *arguments: drawn.append(arguments) or original(*arguments))
    folder = fetch(source, 1)
    assert len(drawn) == len(set(drawn)) == 12
    whole = _tree(cache)
    assert len(whole) == 12
    assert half.items() <= whole.items()
    fetch(source, 1)
    assert len(drawn) == 12
    assert _tree(cache) == whole
    assert folder.is_dir()


def test_a_new_renderer_draws_anew(cache, monkeypatch):
    source = Source(kind="rendered", per_class=1, size=16)
    first = fetch(source, 1)
    monkeypatch.setattr(rendered, "RENDERER", "next")
    assert fetch(source, 1) != first


def test_fetch_uses_the_project_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTAND_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = fetch(Source(kind="rendered", per_class=1, size=16), 2)
    assert folder == rendered.Path(".cache/headstand/rendered") / f"{rendered.RENDERER}-2-1-16"


def test_fetch_refuses_what_cannot_be_drawn_or_written(cache, tmp_path, monkeypatch):
    with pytest.raises(HeadstandError, match="size = 9000: "):
        fetch(Source(kind="rendered", per_class=1, size=9000), 1)
    with pytest.raises(HeadstandError, match="seed = -3: "):
        fetch(Source(kind="rendered", per_class=1, size=32), -3)
    assert not cache.exists()
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "file"))
    with pytest.raises(HeadstandError, match=r"cannot write the rendered photos.*HEADSTAND_CACHE"):
        fetch(Source(kind="rendered", per_class=1, size=32), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
