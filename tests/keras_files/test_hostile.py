"""Files made to do harm: each gives one sentence, runs nothing and touches nothing else."""

import base64
import io
import json
import marshal
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstand.errors import HeadstandError
from headstand.export.foreign import load
from headstand.keras_files import config, loading
from tests.keras_files import files
from tests.keras_files.files import LABELS, SIZE, entry, functional, source
from tests.networks import keras, layers

FORMATS = pytest.mark.parametrize("suffix", [".h5", ".keras"])


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(HeadstandError) as caught:
        load(path, LABELS, "none")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message.removeprefix(str(path))) < 600
    return message


def writing(target: Path) -> Any:
    """A function that leaves a trace when it is run."""
    return eval(f"lambda x: [open({str(target)!r}, 'w').close(), x][1]")


@FORMATS
def test_a_lambda_is_refused_and_not_run(tmp_path: Path, suffix: str, workplace: Path) -> None:
    target = tmp_path / "run"
    given_ = keras.Input((SIZE, SIZE, 3))
    harm = writing(target)
    x = layers.Lambda(harm, output_shape=(SIZE, SIZE, 3), name="harm")(given_)
    path = files.saved(keras.Model(given_, layers.Dense(3, "softmax")(layers.Flatten()(x))), tmp_path / f"m{suffix}")
    target.unlink(missing_ok=True)
    message = refused(path)
    assert "its layer 'harm' is a Lambda: Python code inside the file, which is never run" in message
    # The trap would have sprung where the code is allowed.
    keras.models.load_model(path, safe_mode=False, compile=False, custom_objects={"x": None})(files.pixels(1))
    assert target.exists()
    target.unlink()
    refused(path)
    assert not target.exists()


def test_bytecode_of_keras_2_is_never_loaded(tmp_path: Path) -> None:
    target = tmp_path / "run"
    code = base64.b64encode(marshal.dumps(writing(target).__code__)).decode()
    harm = entry("Lambda", "harm", "photo", function=[code, None, None], function_type="lambda", module="__main__")
    parts = [
        source("photo", SIZE, SIZE, 3),
        harm,
        entry("Flatten", "flat", "harm"),
        entry("Dense", "d", "flat", units=3),
    ]
    assert "is a Lambda" in refused(files.legacy(tmp_path / "m.h5", functional("m", parts)))
    assert not target.exists()


HARM = {"class_name": "__lambda__", "config": {"value": "4wEAAAA=", "code": "4wEAAAA="}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["config"].update(activation=HARM), "has the activation '__lambda__', which is not one of"),
        (lambda d: d["config"].update(activation="my_act"), "has the activation 'my_act', which is not one of"),
        (lambda d: d["config"].update(activation="os.system"), "has the activation 'os.system'"),
        (lambda d: d["config"].update(activation={"class_name": "function", "config": "system"}), "n 'system'"),
        (lambda d: d["config"].update(use_bias=HARM), "has 'use_bias' = {'class_name': '__lambda__'"),
        (lambda d: d.update(class_name="Lambda"), "is a Lambda"),
        (lambda d: d.update(class_name="Mine>Dense2"), "is a 'Mine>Dense2' ('Mine>Dense2'), a custom"),
        (lambda d: d.update(class_name="Custom>Dense"), "is a 'Custom>Dense' ('Custom>Dense'), a custom class"),
        (lambda d: d.update(registered_name="Mine>Dense"), "is a 'Dense' ('Mine>Dense'), a custom class"),
        (lambda d: d.update(registered_name=["Dense"]), "is a 'Dense' (['Dense']), a custom class"),
        (lambda d: d.update(module="os"), "is a 'Dense' ('os'), a custom class"),
        (lambda d: d.update(module="kerasevil.layers"), "is a 'Dense' ('kerasevil.layers'), a custom class"),
        (lambda d: d.update(class_name="Dense2"), "a class that Keras does not have; custom"),
        (lambda d: d.update(class_name="MultiHeadAttention"), "which image classifiers do not need"),
        (lambda d: d.update(class_name="TextVectorization"), "which image classifiers do not need"),
        (lambda d: d.update(class_name="TFSMLayer"), "is a TFSMLayer: code from outside Keras"),
        (lambda d: d.update(class_name="Layer"), "which image classifiers do not need"),
        (lambda d: d.update(class_name="__init__"), "a class that Keras does not have"),
        (lambda d: d.update(class_name="\x1b[2Jboo"), r"is a '\x1b[2Jboo', a class"),
        (lambda d: d.update(class_name=["Dense"]), "a layer has no class_name"),
        (lambda d: d["config"].update(units=10**12), "describes layers with more weights than its file holds"),
        (lambda d: d["config"].update(units=-1), "cannot be built"),
        (lambda d: d["config"].update(units="3"), "cannot be built"),
        (lambda d: d["config"].update(dtype={"class_name": "QuantizedDTypePolicy"}), "was quantized in Keras"),
    ],
)  # fmt: skip
@FORMATS
def test_an_invalid_head_is_refused(
    tmp_path: Path, saved_classifiers: dict[str, bytes], change: Any, reason: str, suffix: str
) -> None:
    path = written(tmp_path / f"m{suffix}", saved_classifiers[suffix])
    files.edited(path, lambda d: change(d["config"]["layers"][-1]))
    assert reason in refused(path)


def test_objects_that_are_registered_here_are_not_taken_either(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("foreign")
    class Doubling(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    @keras.saving.register_keras_serializable("foreign")
    def twice(x: Any) -> Any:
        return 2 * x

    for part, kind in ((Doubling(name="mine"), "'Doubling'"), (layers.Activation(twice, name="mine"), "'twice'")):
        for suffix in (".h5", ".keras"):
            message = refused(files.saved(files.classifier(part, layers.Dense(3)), tmp_path / f"m{suffix}"))
            assert "its layer 'mine' " in message
            assert kind in message.replace("foreign>", "")
            assert "not even if it is registered" in message


def test_a_custom_model_class_is_refused(tmp_path: Path) -> None:
    class Mine(keras.Model):
        pass

    given_ = keras.Input((SIZE, SIZE, 3))
    model = Mine(given_, layers.Dense(3)(layers.Flatten()(given_)))
    message = refused(files.saved(model, tmp_path / "m.keras"))
    assert "it is a 'Mine', a custom class, whose code is never loaded" in message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.clear(), "a layer has no class_name"),
        (lambda d: d.update(config=None), "a network has no layers"),
        (lambda d: d["config"].update(layers=[]), "a network has no layers"),
        (lambda d: d["config"].update(layers=[1]), "a layer is not a JSON object"),
        (lambda d: d["config"].update(input_layers=[]), "it has 0 inputs and 1 outputs"),
        (lambda d: d["config"].update(input_layers=["pool", 0, 0]), "its input is not an InputLayer"),
        (lambda d: d["config"].update(output_layers=["nowhere", 0, 0]), "there is no layer 'nowhere'"),
        (lambda d: d["config"].update(output_layers=["pool", 7, 0]), "'pool' is not called 8 times"),
        (lambda d: d["config"].update(output_layers=["head", 0, 3]), "'head' has no output 3"),
        (
            lambda d: d["config"]["layers"].append(d["config"]["layers"][-1]),
            "two layers of a network have the same",
        ),
        (lambda d: d["config"]["layers"][-1].update(inbound_nodes=7), "'head' is not called on a list"),
        (lambda d: d["config"]["layers"][-1].update(inbound_nodes=[7]), "'head' is not called as Keras calls layers"),
        (
            lambda d: d["config"]["layers"][-1].update(inbound_nodes=[[["head", 0, 0, {}]]]),
            "its layers form a cycle",
        ),
        (lambda d: d["config"]["layers"][-1].update(inbound_nodes=[[["x", 0, 0, {}]]]), "there is no layer 'x'"),
        (lambda d: d["config"]["layers"][-1].update(inbound_nodes=[]), "'head' is unused, or is a second input"),
        (
            lambda d: d["config"]["layers"][-1].update(inbound_nodes=[[["pool", 0, 0, {"training": True}]]]),
            "'head' always runs in training mode",
        ),
        (lambda d: d["config"]["layers"][1]["config"].update(scale="x" * 1_000_000), "not a plain setting"),
    ],
)
@FORMATS
def test_an_invalid_graph_is_refused(
    tmp_path: Path, saved_classifiers: dict[str, bytes], change: Any, reason: str, suffix: str
) -> None:
    path = written(tmp_path / f"m{suffix}", saved_classifiers[suffix])
    files.edited(path, change)
    assert reason in refused(path)


def test_a_graph_of_too_many_calls_is_refused(
    tmp_path: Path, saved_classifiers: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MOST_CALLS", 100)
    path = written(tmp_path / "m.keras", saved_classifiers[".keras"])
    files.edited(path, lambda d: d["config"]["layers"][-1].update(inbound_nodes=[[["pool", 0, 0, {}]]] * 101))
    assert "has more than 100 layers" in refused(path)


@pytest.mark.parametrize(
    "part",
    [
        entry("ZeroPadding2D", "p", "photo", padding=[[100_000, 100_000], [100_000, 100_000]]),
        entry("UpSampling2D", "p", "photo", size=[2000, 2000]),
        entry("Resizing", "p", "photo", height=10**6, width=10**6),
        entry("MaxPooling2D", "p", "big", pool_size=[900, 900], strides=[1, 1], padding="same"),
    ],
)
def test_layers_that_would_fill_the_memory_or_never_end(tmp_path: Path, part: dict[str, Any]) -> None:
    parts = [
        source("photo", SIZE, SIZE, 3),
        entry("ZeroPadding2D", "big", "photo", padding=[500, 500]),
        part,
        entry("GlobalAveragePooling2D", "pool", "p"),
        entry("Activation", "end", "pool", activation="softmax"),
    ]
    start = time.monotonic()
    assert "its layer 'p' needs more memory or work" in refused(files.legacy(tmp_path / "m.h5", functional("m", parts)))
    assert time.monotonic() - start < 60


def test_invalid_descriptions_are_refused(tmp_path: Path) -> None:
    deep = '{"class_name": "Functional", "config": ' + "[" * 300 + "]" * 300 + "}"
    for text, reason in (
        ("{", "its configuration is not JSON"),
        ("[]", "its configuration does not describe a model"),
        ("7", "its configuration does not describe a model"),
        (deep, "nested more than 100 deep"),
        ("[" * 500_000, "its configuration is not JSON"),
        ("9" * 10_000, "its configuration is not JSON"),
    ):
        assert reason in refused(files.legacy(tmp_path / "m.h5", text))
    many = source("within", SIZE, SIZE, 3)
    for _ in range(15):  # within the depth of JSON
        many = {**many, "inbound_nodes": [[["photo", 0, 0, {}]]]}
        many = {**functional("m", [source("photo", SIZE, SIZE, 3), many]), "name": "m"}
    assert refused(files.legacy(tmp_path / "m.h5", many))


def test_hdf5_that_points_outside(tmp_path: Path, saved_classifiers: dict[str, bytes]) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["values"] = np.zeros((4, 3))
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(48))
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "values", (4, 3))

    def replaced(group: h5py.Group, kind: str) -> None:
        del group["kernel"]
        if kind == "external":
            group["kernel"] = h5py.ExternalLink(str(secret), "values")
        elif kind == "soft":
            group["kernel"] = h5py.SoftLink("/model_weights/head/head/bias")
        elif kind == "raw":
            group.create_dataset("kernel", (4, 3), "f4", external=[(str(raw), 0, 48)])
        elif kind == "virtual":
            group.create_virtual_dataset("kernel", layout)
        elif kind == "strings":
            group.create_dataset("kernel", data=[["a"] * 3] * 4, dtype=h5py.string_dtype())
        elif kind == "references":
            group.create_dataset("kernel", (4, 3), h5py.ref_dtype)
        elif kind == "bomb":
            group.create_dataset("kernel", (2**16, 2**14), "f4", chunks=(2**10, 2**10), compression="gzip")
        elif kind == "missing":
            return
        elif kind == "group":
            group.create_group("kernel")

    for kind, reason in (
        ("external", "has a link instead of data at 'kernel' (ExternalLink)"),
        ("soft", "has a link instead of data at 'kernel' (SoftLink)"),
        ("raw", "keeps the array 'head/kernel' in another file"),
        ("virtual", "keeps the array 'head/kernel' in another file"),
        ("strings", "not of numbers"),
        ("references", "not of numbers"),
        ("bomb", "claims 4,096 MiB for the array 'head/kernel' but stores far fewer"),
        ("missing", "has no array 'head/kernel'"),
        ("group", "has no array 'head/kernel'"),
    ):
        path = written(tmp_path / "m.h5", saved_classifiers[".h5"])
        with h5py.File(path, "r+") as file:
            replaced(file["model_weights/head/head"], kind)
        assert reason in refused(path), kind
    # A whole group, and the same within an archive.
    path = written(tmp_path / "m.h5", saved_classifiers[".h5"])
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink(str(secret), "/")
    assert "has a link instead of data at 'model_weights'" in refused(path)
    path = written(tmp_path / "m.keras", saved_classifiers[".keras"])
    content = files.members(path)
    inner = tmp_path / "inner.h5"
    inner.write_bytes(content["model.weights.h5"])
    with h5py.File(inner, "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(secret), "values")
    files.archive(path, {**content, "model.weights.h5": inner.read_bytes()})
    assert "has a link instead of data at '0' (ExternalLink)" in refused(path)


def test_groups_within_themselves(tmp_path: Path, saved_classifiers: dict[str, bytes]) -> None:
    path = written(tmp_path / "m.keras", saved_classifiers[".keras"])
    content = files.members(path)
    inner = tmp_path / "inner.h5"
    inner.write_bytes(content["model.weights.h5"])
    with h5py.File(inner, "r+") as file:
        file["layers/round"] = file["layers"]
    files.archive(path, {**content, "model.weights.h5": inner.read_bytes()})
    assert "nests groups too deeply" in refused(path) or "more groups and arrays" in refused(path)


def test_zips_made_to_do_harm(tmp_path: Path, saved_classifiers: dict[str, bytes]) -> None:
    path = written(tmp_path / "m.keras", saved_classifiers[".keras"])
    content = files.members(path)
    outside = {"../evil.txt": b"x", "/tmp/evil.txt": b"x", "assets/../../evil.txt": b"x", "..\\evil.txt": b"x"}
    files.archive(path, {**content, **outside})
    assert load(path, LABELS, "none").size == SIZE  # other members are not looked at
    assert sorted(item.name for item in tmp_path.iterdir()) == ["m.keras"]
    assert not (tmp_path.parent / "evil.txt").exists()

    bombs = [("config.json", b" " * 96 * 2**20), ("model.weights.h5", bytes(96 * 2**20))]
    for name, data in bombs:
        files.archive(path, {**content, name: data}, zipfile.ZIP_DEFLATED)
        assert f"packs 96 MiB of {name} into" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("config.json", b"{}")
    assert "holds several members with the same name" in refused(path)
    for missing in ("config.json", "model.weights.h5"):
        files.archive(path, {name: data for name, data in content.items() if name != missing})
        assert "is a zip without config.json and model.weights.h5" in refused(path)
    # A size in the directory that is smaller than the truth.
    files.archive(path, {**content, "config.json": content["config.json"] + b" " * 2**16}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02", 0, data.rfind(b"config.json"))
    data[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert "is damaged" in refused(path) or "is no JSON" in refused(path)


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    for data, reason in (
        (b"", "is neither HDF5 (.h5) nor a Keras archive (.keras)"),
        (b"\x80\x04\x95pickle", "is neither HDF5"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 500, "is damaged: OSError"),
        (b"PK\x05\x06" + bytes(18), "is a zip without config.json"),
    ):
        path.write_bytes(data)
        assert reason in refused(path)
    files.classifier().save_weights(tmp_path / "m.weights.h5")
    assert "holds weights without the configuration of a model" in refused(tmp_path / "m.weights.h5")


def test_a_reader_of_its_own_without_keras(
    tmp_path: Path, saved_classifiers: dict[str, bytes], reader_process: None
) -> None:
    path = written(tmp_path / "-x a;b.h5", saved_classifiers[".keras"])  # neither name nor extension matter
    assert load(path, LABELS, "none").size == SIZE
    path.write_bytes(b"nothing")
    assert "is neither HDF5" in refused(path)
    script = "import sys, headstand.keras_files.reader; print('keras' in sys.modules, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os.abort()", "the reader process stopped with"),
        ("import time; time.sleep(60)", "cannot be read within 1 sec"),
    ],
)
def test_a_reader_that_dies_or_hangs(
    tmp_path: Path, reader_process: None, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    path = written(tmp_path / "m.h5", b"not read")
    real = subprocess.run
    monkeypatch.setattr(loading, "_PATIENCE", 1)
    monkeypatch.setattr(
        loading.subprocess, "run", lambda argv, **options: real([sys.executable, "-c", script], **options)
    )
    assert reason in refused(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=True) | st.text(max_size=8)
    | st.sampled_from(["Dense", "Lambda", "base", "head", "pool", "softmax", "__lambda__", "__keras_tensor__"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["class_name", "config", "layers", "name", "module", "inbound_nodes", "keras_history"]), inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*here, key))
    return found


def harmless(path: Path) -> None:
    """It is imported, or one sentence says why not."""
    try:
        load(path, LABELS, "none")
    except HeadstandError as error:
        assert str(error).isprintable()


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_a_description_gives_a_model_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, saved_classifiers: dict[str, bytes], data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".h5", ".keras"]))
    path = written(tmp_path_factory.mktemp("changed") / f"m{suffix}", saved_classifiers[suffix])

    def change(description: Any) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            if not (left := places(description)):
                return
            here = data.draw(st.sampled_from(left))
            inner = description
            for key in here[:-1]:
                inner = inner[key]
            if data.draw(st.booleans()) or isinstance(inner, list):
                inner[here[-1]] = data.draw(JSON)
            else:
                del inner[here[-1]]

    harmless(files.edited(path, change))


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_change_of_bytes_gives_a_model_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, saved_classifiers: dict[str, bytes], data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".h5", ".keras"]))
    content = bytearray(saved_classifiers[suffix])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    harmless(written(tmp_path_factory.mktemp("bytes") / f"m{suffix}", bytes(content)))


def test_json_of_these_tests_is_what_keras_writes(saved_classifiers: dict[str, bytes]) -> None:
    with h5py.File(io.BytesIO(saved_classifiers[".h5"])) as file:
        assert json.loads(file.attrs["model_config"])["class_name"] == "Functional"
