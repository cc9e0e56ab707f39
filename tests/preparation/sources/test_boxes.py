import errno
import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstand.images import decode
from headstand.preparation import manifest
from headstand.preparation.listing import Item, Listing
from headstand.preparation.prepare import prepare
from headstand.preparation.sources import boxes, crop, walk
from headstand.preparation.sources.annotated import class_name
from headstand.preparation.sources.archive import ArchiveError
from headstand.preparation.sources.boxes import BoxesError, listing
from headstand.recipe import Recipe, Source, Split, load
from tests.preparation.photos import encoded, picture

SIZE = 48
COLORS = {
    "n02086240-Shih-Tzu": (230, 30, 30),
    "n02088094-Afghan_hound": (30, 220, 40),
    "n02111889-Samoyed": (40, 40, 230),
}
Edges = tuple[float, float, float, float]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEADSTAND_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def xml(objects: list[tuple[str, Edges]], filename: str = "%s", size: tuple[int, int] | None = (120, 96)) -> str:
    tags = ("xmin", "ymin", "xmax", "ymax")
    elements = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{tag}>{edge}</{tag}>" for tag, edge in zip(tags, edges, strict=True))
        + "</bndbox></object>"
        for name, edges in objects
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{stated}{elements}</annotation>"


def photo(seed: int, squares: list[tuple[Edges, tuple[int, int, int]]]) -> Image.Image:
    """Random blobs with a coloured square for each dog."""
    image = picture(seed).point(lambda value: value // 2)
    for edges, color in squares:
        image.paste(color, tuple(map(int, edges)))
    return image


class DogPhotos:
    """Makes photos and annotations as Stanford Dogs has them."""

    def __init__(self, root: Path) -> None:
        self.images, self.annotations, self.seed = root / "Images", root / "Annotation", 0

    def add(self, folder: str, edges: list[Edges], name: str | None = None) -> str:
        self.seed += 1
        stem = f"{folder.partition('-')[0]}_{self.seed}"
        squares = [(box, tuple(np.clip(np.add(COLORS[folder], 8 * i), 0, 255))) for i, box in enumerate(edges)]
        for parent in (self.images, self.annotations):
            (parent / folder).mkdir(parents=True, exist_ok=True)
        photo(self.seed, squares).save(self.images / folder / f"{stem}.jpg", quality=98, subsampling=0)
        name = name or folder.partition("-")[2]
        (self.annotations / folder / stem).write_text(xml([(name, box) for box in edges]))
        return f"{folder}/{stem}"

    def source(self, **keys: object) -> Source:
        return Source(
            kind="boxes", images=str(self.images), annotations=str(self.annotations), **{"size": SIZE, **keys}
        )


@pytest.fixture
def dogs(tmp_path) -> DogPhotos:
    """Two breeds with four photos, one with three; one photo shows two dogs."""
    dogs = DogPhotos(tmp_path / "dogs")
    shih_tzu, afghan, samoyed = COLORS
    for offset in range(4):
        dogs.add(samoyed, [(10 + offset, 20, 50 + offset, 60)])
        dogs.add(afghan, [(60, 10 + offset, 110, 60 + offset)])
    dogs.add(shih_tzu, [(5, 5, 35, 35), (70, 40, 110, 80)])
    for _ in range(2):
        dogs.add(shih_tzu, [(40, 30, 80, 70)])
    return dogs


def counts(found: Listing) -> Counter[str]:
    return Counter(item.class_ for item in found.items)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_each_dog_is_cut_out_of_its_photo(dogs, tmp_path):
    found = listing(dogs.source(), 1)
    assert found.classes == ("afghan_hound", "samoyed", "shih_tzu")
    assert counts(found) == {"afghan_hound": 4, "samoyed": 4, "shih_tzu": 4}
    assert (found.left_out, found.ignored, found.links) == ((), 0, 0)
    for item in found.items:
        assert item.path.is_relative_to(tmp_path / "cache" / "boxes") and item.path.is_relative_to(found.root)
        assert item.path.parent.name == item.class_
        folder = next(folder for folder in COLORS if class_name(folder) == item.class_)
        pixels = decode(item.path)
        assert pixels.shape == (SIZE, SIZE, 3)
        # The dog fills the square: box and colour are the same.
        assert abs(pixels.astype(int) - COLORS[folder]).max() <= 8 + 12


def test_dogs_of_one_photo_share_its_group_and_no_others_do(dogs):
    items = listing(dogs.source(), 1).items
    groups = Counter(item.group for item in items)
    assert len(groups) == 11
    assert [group for group, count in groups.items() if count == 2] == ["n02086240-Shih-Tzu/n02086240_9.jpg"]
    pair = [item for item in items if groups[item.group] == 2]
    assert [item.path.name for item in pair] == ["n02086240_9-1.jpg", "n02086240_9-2.jpg"]
    first, second = (decode(item.path).astype(int).mean((0, 1)) for item in pair)
    assert np.allclose(first, (230, 30, 30), atol=3) and np.allclose(second, (238, 38, 38), atol=3)


def test_the_photo_around_an_oblong_box_is_kept_in_proportion(dogs):
    folder = "n02111889-Samoyed"
    name = dogs.add(folder, [(30, 40, 70, 60)])
    found = listing(dogs.source(), 1)
    (item,) = (item for item in found.items if item.group == f"{name}.jpg")
    pixels = decode(item.path).astype(int)
    band = pixels[SIZE // 4 + 1 : SIZE * 3 // 4 - 1]
    assert abs(band - COLORS[folder]).max() < 40
    expected = decode(dogs.images / f"{name}.jpg")[30:70, 30:70]
    expected = np.asarray(Image.fromarray(expected).resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(int)
    assert abs(pixels - expected).mean() < 3


def test_saved_crops_keep_fine_colours(dogs):
    name = dogs.add("n02111889-Samoyed", [(20, 20, 20 + SIZE, 20 + SIZE)])
    pixels = np.zeros((96, 120, 3), np.uint8)
    pixels[:, ::2], pixels[:, 1::2] = (220, 40, 40), (40, 160, 40)
    (dogs.images / f"{name}.jpg").write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    (item,) = (item for item in listing(dogs.source(), 1).items if item.group == f"{name}.jpg")
    assert abs(decode(item.path).astype(int) - pixels[20 : 20 + SIZE, 20 : 20 + SIZE]).mean() < 4


def test_a_second_call_writes_nothing(dogs, tmp_path):
    first = listing(dogs.source(), 1)
    before = snapshot(tmp_path)
    assert listing(dogs.source(), 2) == first
    assert snapshot(tmp_path) == before


def test_an_interrupted_call_is_resumed(dogs, monkeypatch):
    expected_listing = listing(dogs.source(), 1)
    expected = {name: data for name, (data, _) in snapshot(expected_listing.root).items()}
    for item in expected_listing.items[1::2]:
        item.path.unlink()
    kept = snapshot(expected_listing.root)
    cut, calls = crop.crops, []

    def stop(data, pending, *arguments):
        calls.append(len(pending))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cut(data, pending, *arguments)

    monkeypatch.setattr(crop, "crops", stop)
    with pytest.raises(KeyboardInterrupt):
        listing(dogs.source(), 1)
    assert {name: snapshot(expected_listing.root)[name] for name in kept} == kept
    monkeypatch.setattr(crop, "crops", cut)
    assert listing(dogs.source(), 1) == expected_listing
    assert {name: data for name, (data, _) in snapshot(expected_listing.root).items()} == expected


@pytest.mark.parametrize("change", ["photo", "box", "size", "most"])
def test_crops_are_written_again_if_anything_changes_them(dogs, change):
    old = listing(dogs.source(), 1)
    before = snapshot(old.root)
    keys = {"size": {"size": SIZE + 1}, "most": {"most": 2}}.get(change, {})
    if change == "photo":
        path = dogs.images / f"{next(iter(COLORS))}/n02086240_10.jpg"
        path.write_bytes(encoded(photo(99, [((40, 30, 80, 70), (9, 9, 9))])))
    if change == "box":
        path = dogs.annotations / "n02111889-Samoyed" / "n02111889_1"
        path.write_text(path.read_text().replace("<xmin>10<", "<xmin>12<"))
    new = listing(dogs.source(**keys), 1)
    assert new.root != old.root
    assert snapshot(old.root) == before


def test_the_most_numerous_classes_are_kept_counted_by_photos(dogs):
    # Shih-Tzu has as many dogs as the others, but fewer photos.
    assert listing(dogs.source(most=2), 1).classes == ("afghan_hound", "samoyed")
    dogs.add("n02086240-Shih-Tzu", [(1, 1, 40, 40)])
    assert listing(dogs.source(most=2), 1).classes == ("afghan_hound", "samoyed")  # equals: by name
    dogs.add("n02086240-Shih-Tzu", [(1, 1, 40, 40)])
    assert listing(dogs.source(most=2), 1).classes == ("afghan_hound", "shih_tzu")
    assert len(listing(dogs.source(most="all"), 1).classes) == len(listing(dogs.source(), 1).classes) == 3


def test_boxes_that_cannot_be_cut_are_reported_and_the_rest_is_used(dogs):
    folder = "n02111889-Samoyed"
    name = dogs.add(folder, [(90, 10, 40, 60), (10, 10, 10, 60), (10, 10, 40, 40), (300, 10, 340, 40)])
    found = listing(dogs.source(), 1)
    assert [item.path.name for item in found.items if item.group == f"{name}.jpg"] == ["n02111889_12-3.jpg"]
    assert found.left_out == (
        (f"{name}, object 1", "an inverted box (90, 10, 40, 60)"),
        (f"{name}, object 2", "an empty box (10, 10, 10, 60)"),
        (f"{name}, object 4", "a box outside of its photo"),
    )


def test_damaged_files_are_reported_and_the_rest_is_used(dogs):
    afghan = "n02088094-Afghan_hound"
    broken = dogs.images / afghan / "n02088094_2.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    bomb = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation><filename>&b;</filename></annotation>'
    (dogs.annotations / afghan / "n02088094_4").write_text(bomb)
    (dogs.annotations / afghan / "n02088094_999").write_text(xml([("Afghan_hound", (1, 1, 9, 9))]))
    (dogs.annotations / afghan / "n02088094_6").write_text(xml([("Afghan_hound", (1, 1, 9, 9))], size=(50, 300)))
    found = listing(dogs.source(), 1)
    assert counts(found) == {"afghan_hound": 1, "samoyed": 4, "shih_tzu": 4}
    reasons = dict(found.left_out)
    assert "declares a document type" in reasons[f"{afghan}/n02088094_4"]
    assert reasons[f"{afghan}/n02088094_4.jpg"] == "a photo without boxes"
    assert reasons[f"{afghan}/n02088094_999"] == "no photo has its name"
    assert reasons[f"{afghan}/n02088094_6, object 1"] == "a box for a photo of another shape"
    assert "damaged" in reasons[f"{afghan}/n02088094_2.jpg"]
    assert len(reasons) == 5


def voc_folder(root: Path) -> Source:
    """Photos with several objects in `JPEGImages`, their boxes in `Annotations`, as the VOC challenges have them."""
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    dog, cat = ((5, 5, 45, 45), (250, 10, 10)), ((60, 30, 100, 70), (10, 250, 10))
    for number in range(6):
        objects = [("Dog", dog[0]), ("tabby cat", cat[0])][: 1 + number % 2]
        photo(number, [dog, cat][: 1 + number % 2]).save(
            root / "JPEGImages" / f"{number:06d}.jpg", quality=98, subsampling=0
        )
        (root / "Annotations" / f"{number:06d}.xml").write_text(xml(objects, f"{number:06d}.jpg"))
    return Source(kind="boxes", images=str(root / "JPEGImages"), annotations=str(root / "Annotations"), size=SIZE)


def test_objects_names_are_classes_if_folders_are_not(tmp_path):
    found = listing(voc_folder(tmp_path / "VOC2007"), 1)
    assert counts(found) == {"dog": 6, "tabby_cat": 3}
    colors = {"dog": (250, 10, 10), "tabby_cat": (10, 250, 10)}
    for item in found.items:
        assert np.allclose(decode(item.path).mean((0, 1)), colors[item.class_], atol=9)
    assert {item.group for item in found.items if item.class_ == "tabby_cat"} <= {f"00000{n}.jpg" for n in (1, 3, 5)}


def test_images_and_annotations_may_be_in_one_tree(tmp_path):
    for name in ("VOC2007", "VOC2012"):
        voc_folder(tmp_path / "VOCdevkit" / name)
    source = Source(kind="boxes", images="VOCdevkit", annotations="VOCdevkit", size=SIZE)
    found = listing(source, 1)
    assert counts(found) == {"dog": 12, "tabby_cat": 6}
    assert found.left_out == ()
    assert len({item.path for item in found.items}) == 18
    assert len({item.group for item in found.items}) == 12


def test_photos_and_xml_may_be_in_the_same_folder(tmp_path):
    voc_folder(tmp_path / "voc")
    for path in [*(tmp_path / "voc").glob("*/*")]:
        split = "train" if int(path.stem) < 3 else "valid"
        (tmp_path / "flat" / split).mkdir(parents=True, exist_ok=True)
        shutil.move(path, tmp_path / "flat" / split / path.name)
    found = listing(Source(kind="boxes", images="flat", annotations="flat", size=SIZE), 1)
    assert counts(found) == {"dog": 6, "tabby_cat": 3}


def test_a_photo_is_found_by_the_name_that_its_annotation_states(tmp_path):
    source = voc_folder(tmp_path / "voc")
    for path in (tmp_path / "voc" / "Annotations").iterdir():
        path.rename(path.with_name(f"boxes-{path.name}"))
    assert counts(listing(source, 1)) == {"dog": 6, "tabby_cat": 3}


def test_annotations_of_two_photos_and_repeated_ones_are_reported(tmp_path):
    source = voc_folder(tmp_path / "voc")
    images, annotations = tmp_path / "voc" / "JPEGImages", tmp_path / "voc" / "Annotations"
    (images / "more").mkdir()
    shutil.copy(images / "000000.jpg", images / "000000.png")
    (annotations / "copy-of-1.xml").write_text((annotations / "000001.xml").read_text())
    text = (annotations / "000000.xml").read_text()
    (annotations / "000000.xml").write_text(text.replace("000000.jpg", "?"))
    found = listing(source, 1)
    assert counts(found) == {"dog": 5, "tabby_cat": 3}
    assert ("000000.xml", "more than one photo has its name") in found.left_out
    assert ("copy-of-1.xml", "its photo has the boxes of 000001.xml") in found.left_out
    (annotations / "000000.xml").write_text(text)  # it states which
    assert counts(listing(source, 1)) == {"dog": 6, "tabby_cat": 3}


def test_folders_are_classes_if_all_objects_have_one_name(tmp_path):
    dogs = DogPhotos(tmp_path / "plain")
    for root in (dogs.images, dogs.annotations):
        for folder in ("Red Fish", "blue-fish"):
            (root / folder).mkdir(parents=True)
    for number in range(6):
        folder = ("Red Fish", "blue-fish")[number % 2]
        photo(number, []).save(dogs.images / folder / f"{number}.jpg")
        (dogs.annotations / folder / f"{number}.xml").write_text(xml([("fish", (5, 5, 50, 50))]))
    assert counts(listing(dogs.source(), 1)) == {"blue_fish": 3, "red_fish": 3}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("n02086240-Shih-Tzu", "shih_tzu"),
        ("n02088094-Afghan_hound", "afghan_hound"),
        ("n02089078-black-and-tan_coonhound", "black_and_tan_coonhound"),
        ("n02086240", "n02086240"),
        ("n1-x", "n1_x"),
        ("Person", "person"),
        ("  potted  plant ", "potted_plant"),
        ("Köter", "köter"),
        ("../../etc", "etc"),
        ("/", ""),
        ("..", ""),
    ],
)
def test_class_names(text, name):
    assert class_name(text) == name


def test_breeds_of_one_name_keep_their_numbers(dogs, monkeypatch):
    for folder in ("n02012849-crane", "n03126707-crane"):
        monkeypatch.setitem(COLORS, folder, (9, 9, 9))
        dogs.add(folder, [(10, 10, 40, 40)])
    assert listing(dogs.source(), 1).classes == (
        "afghan_hound", "n02012849_crane", "n03126707_crane", "samoyed", "shih_tzu"
    )  # fmt: skip


def test_untrusted_names_stay_within_the_cache(tmp_path):
    source = voc_folder(tmp_path / "voc")
    names = ["../../outside", "/root", "x" * 5000, "ü" * 90, "", "con/../dog"]
    for number, name in enumerate(names):
        (tmp_path / "voc" / "Annotations" / f"{number:06d}.xml").write_text(xml([(name, (5, 5, 40, 40))]))
    found = listing(source, 1)
    assert found.classes == ("con_dog", "outside", "root")
    assert [why for _, why in found.left_out] == ["a name of more than 100 bytes"] * 2 + ["an object without a name"]
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.jpg")} == {"voc", "cache"}


def test_links_to_own_photos_are_followed_and_to_those_of_another_user_counted(dogs, tmp_path, monkeypatch):
    outside = tmp_path / "elsewhere.jpg"
    photo(77, []).save(outside)
    (dogs.images / "n02111889-Samoyed" / "n02111889_99.jpg").symlink_to(outside)
    (dogs.annotations / "n02111889-Samoyed" / "n02111889_99").write_text(xml([("Samoyed", (1, 1, 40, 40))]))
    found = listing(dogs.source(), 1)
    assert (found.links, found.left_out) == (0, ())
    assert "n02111889-Samoyed/n02111889_99.jpg" in {item.group for item in found.items}
    monkeypatch.setattr(walk, "_may_follow", lambda path, home, owners: False)
    found = listing(dogs.source(), 1)
    assert found.links == 1
    assert found.left_out == (("n02111889-Samoyed/n02111889_99", "no photo has its name"),)


def test_long_names_and_names_that_are_not_utf8_are_accepted(dogs):
    folder = dogs.images / "n02111889-Samoyed"
    annotations = dogs.annotations / "n02111889-Samoyed"
    for stem in ("long" * 60, "odd\udcff"):
        photo(len(stem), []).save(folder / "new.jpg")
        (folder / "new.jpg").rename(folder / f"{stem}.jpg")
        (annotations / stem).write_text(xml([("Samoyed", (1, 1, 40, 40))]))
    (annotations / "lost\udcff").write_text("nothing")
    found = listing(dogs.source(), 1)
    assert counts(found)["samoyed"] == 6
    json.dumps(found.left_out).encode()
    str(found.left_out).encode()


@pytest.mark.parametrize("size", [15, 2049])
def test_invalid_sizes_are_refused(dogs, size):
    with pytest.raises(BoxesError, match=f"source.size is {size} pixels; it must be from 16 to 2048"):
        listing(dogs.source(size=size), 1)


def test_one_class_or_none_is_refused(tmp_path):
    dogs = DogPhotos(tmp_path / "dogs")
    dogs.add("n02111889-Samoyed", [(1, 1, 9, 9)])
    with pytest.raises(BoxesError, match="of one class only, 'samoyed'"):
        listing(dogs.source(), 1)
    (dogs.annotations / "n02111889-Samoyed" / "n02111889_1").write_text("a note")
    with pytest.raises(BoxesError, match=r"no usable box for any of the 1 photos .*n02111889_1: .* is not XML"):
        listing(dogs.source(), 1)
    assert not (tmp_path / "cache" / "boxes").exists()


def test_a_class_whose_boxes_all_fail_is_reported_with_the_reason(dogs):
    for path in (dogs.images / "n02086240-Shih-Tzu").iterdir():
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BoxesError, match=r"class 'shih_tzu' has no box that can be cut \(n02086240-Shih-Tzu/.*damaged"):
        listing(dogs.source(), 1)


def test_a_full_disk_is_reported_and_leaves_no_partial_file(dogs, tmp_path, monkeypatch):
    def full(self, file, *_, **__):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(BoxesError, match=r"cannot write the crops .* No space left on device; HEADSTAND_CACHE"):
            listing(dogs.source(), 1)
    assert not [path for path in (tmp_path / "cache" / "boxes").rglob("*") if path.is_file()]


def tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, folder.name)
    return path


def test_archives_are_prepared_end_to_end(dogs, tmp_path):
    for folder, breed in enumerate(COLORS):
        for number in range(8):
            left = 5 + 6 * number
            dogs.add(breed, [(left, 10 + folder, left + 40, 50 + folder), (left + 42, 5, left + 62, 25)])
    images, annotations = tar(dogs.images), tar(dogs.annotations)
    for folder in (dogs.images, dogs.annotations):
        shutil.rmtree(folder)
    source = Source(kind="boxes", images=str(images), annotations=str(annotations), size=SIZE)
    recipe = Recipe(name="dogs", source=source, split=Split(train=0.7, validation=0.15, test=0.15))
    summary = prepare(recipe)
    dataset = manifest.read(Path("data/dogs"))
    assert dataset.classes == ("afghan_hound", "samoyed", "shih_tzu")
    assert Counter(p.class_ for p in dataset.photos) == {"afghan_hound": 20, "samoyed": 20, "shih_tzu": 20}
    assert all((photo.width, photo.height) == (SIZE, SIZE) for photo in dataset.photos)
    assert {photo.split for photo in dataset.photos} == {"train", "validation", "test"}
    # Crops of one photo, identified by their bytes, are in one split and share a group.
    found = listing(source, 1)
    photos = {(dataset.folder / photo.path).read_bytes(): photo for photo in dataset.photos}
    by_photo: dict[str, set[tuple[str, int]]] = {}
    for item in found.items:
        prepared = photos[item.path.read_bytes()]
        by_photo.setdefault(item.group, set()).add((prepared.split, prepared.group))
    assert len(by_photo) == 35
    assert all(len(groups) == 1 for groups in by_photo.values())
    assert summary.is_new and not prepare(recipe).is_new


def test_an_archive_with_names_outside_its_folder_is_refused(dogs, tmp_path):
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        info = tarfile.TarInfo("../outside.jpg")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"oops"))
    source = Source(kind="boxes", images="images.tar", annotations=str(dogs.annotations))
    with pytest.raises(ArchiveError, match="leads out of its folder"):
        listing(source, 1)
    assert not (tmp_path.parent / "outside.jpg").exists()


def test_the_recipe_dogs_names_the_official_archives_and_their_digests():
    recipe = load("dogs")
    assert {recipe.source.images, recipe.source.annotations} == set(boxes.DIGESTS)
    assert (recipe.source.most, recipe.source.size) == (10, 299)
    assert (recipe.split.train, recipe.split.validation, recipe.split.test) == (0.7, 0.15, 0.15)
    assert (recipe.backbone.name, recipe.backbone.size) == ("Xception", 299)
    assert [stage.parameter for stage in recipe.search.stages] == ["learning_rate", "inner", "dropout"]


def test_official_addresses_are_fetched_with_their_digests(dogs, monkeypatch):
    digests = {}

    def unpacked(location: str, *, digest: str | None = None) -> Path:
        digests[location] = digest
        return dogs.images if "images" in location else dogs.annotations

    monkeypatch.setattr(boxes, "unpacked", unpacked)
    found = listing(load("dogs").source, 1)
    assert digests == boxes.DIGESTS
    assert all(value.startswith("sha256:") and len(value) == 71 for value in digests.values())
    assert isinstance(found.items[0], Item)
    assert decode(found.items[0].path).shape == (299, 299, 3)
