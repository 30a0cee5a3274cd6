"""Golden vectors: what is written, that it is the same twice, and that wrong results are named."""

import json

import numpy as np
import pytest

from bpx import ALL
from bpx.__main__ import main
from bpx.convert.files import of_bytes, to_bytes
from bpx.vectors import ENTRIES, check, read_manifest, vectors_of, write
from bpx.verify.bound import UNIT
from bpx.verify.reference import cases, cotangent

BY_NAME = {spec.name: spec for spec in ALL}
NAMES = ["relu", "layer_norm", "dropout", "embedding"]  # kinks, absent arguments, bits, indices

pytest.importorskip("rich")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The vectors of every entry, through the command."""
    folder = tmp_path_factory.mktemp("vectors")
    assert main(["vectors", str(folder)]) == 0
    return folder


def arrays_of(folder, name):
    return of_bytes(name, (folder / f"{name}.safetensors").read_bytes())[0]


def results_of(vectors, dtype=None):
    """Results that are right: what is expected, rounded as a framework would."""
    want = [k.replace("/bounds/", "/", 1) for k in vectors if "/bounds/" in k]
    return {k: vectors[k].astype(dtype or k.split("/")[1]) for k in want}


def put(folder, name, results):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.safetensors").write_bytes(to_bytes(results, {}))


def test_every_entry_case_and_dtype_is_written(everything):
    manifest = read_manifest(everything)
    assert list(manifest["entries"]) == [spec.name for spec in ENTRIES]
    assert manifest["dtypes"] == ["float64", "float32"]
    for spec in ALL:
        record, arrays = manifest["entries"][spec.name], arrays_of(everything, spec.name)
        assert [c["name"] for c in record["cases"]] == [c.name for c in cases(spec)]
        for case in cases(spec):
            for dtype in ("float64", "float32"):
                at = f"{case.name}/{dtype}"
                present = {a.name for a in spec.args if case.arrays[a.name] is not None}
                floats = {a.name for a in spec.args if a.kind == "float"} & present
                got = {k.removeprefix(f"{at}/") for k in arrays if k.startswith(f"{at}/")}
                want = {"y", *(f"residuals/{r}" for r in spec.residuals if r != "y")}
                want |= {f"gradients/{n}" for n in floats}
                inputs = {f"inputs/{n}" for n in present}
                assert got == {"dy"} | inputs | want | {f"bounds/{k}" for k in want}
                assert {arrays[f"{at}/inputs/{n}"].dtype.name for n in floats} <= {dtype}
                assert arrays[f"{at}/y"].dtype == np.float64


def test_values_are_the_specification_of_the_rounded_inputs(everything):
    spec = BY_NAME["layer_norm"]
    arrays = arrays_of(everything, "layer_norm")
    case = next(c for c in cases(spec) if c.name == "loud eps")
    given = [arrays.get(f"loud eps/float32/inputs/{a.name}") for a in spec.args]
    assert [a is None for a in given] == [False, False, True]
    exact = np.float32(case.arrays["x"])
    assert np.array_equal(given[0], exact)
    wide = [None if a is None else a.astype(np.float64) for a in given]
    dy = np.float32(cotangent(spec, case)).astype(np.float64)
    assert np.array_equal(arrays["loud eps/float32/dy"], dy)
    y, residuals = spec.forward(*wide, **case.options)
    assert np.array_equal(arrays["loud eps/float32/y"], y)
    assert np.array_equal(arrays["loud eps/float32/residuals/rstd"], residuals[1])
    grads = spec.backward(dy, *wide, **case.options)
    assert np.array_equal(arrays["loud eps/float32/gradients/x"], grads[0])
    assert np.array_equal(arrays["loud eps/float32/gradients/weight"], grads[1])
    # and not those of the unrounded ones
    assert not np.array_equal(arrays["loud eps/float64/y"], y)


def test_bounds_are_the_kits_and_the_manifest_has_the_largest(everything):
    record = read_manifest(everything)["entries"]["relu"]
    arrays = arrays_of(everything, "relu")
    x = arrays["2d/float32/inputs/x"].astype(np.float64)
    bound = arrays["2d/float32/bounds/y"]
    u = UNIT["float32"]  # relu moves by u |x| where x > 0: 32 (u |x| + u |y|), the movement sampled
    assert (bound <= 64 * u * np.maximum(x, 0) * 1.001 + 1e-36).all()
    assert (bound[x > 0] >= 32 * u * x[x > 0]).all()
    case = next(c for c in record["cases"] if c["name"] == "2d")
    assert case["tolerances"]["float32"]["y"] == bound.max()
    assert "0 at 0" in record["kinks"]


def test_the_same_bytes_twice(everything, tmp_path):
    main(["vectors", str(tmp_path), "--only", *NAMES])
    for name in NAMES:
        file = f"{name}.safetensors"
        assert (tmp_path / file).read_bytes() == (everything / file).read_bytes()
    first = (tmp_path / "manifest.json").read_bytes()
    write(tmp_path, [BY_NAME[n] for n in NAMES if n != "relu"])
    write(tmp_path, [s for s in ALL if s.name in NAMES])
    assert (tmp_path / "manifest.json").read_bytes() == first


def test_other_readers_read_the_files(everything):
    numpy = pytest.importorskip("safetensors.numpy")
    torch = pytest.importorskip("safetensors.torch")
    for name in ("dropout", "attention"):  # bits, masks and keys: tensors of every width
        ours, file = arrays_of(everything, name), everything / f"{name}.safetensors"
        for theirs in (numpy.load_file(file), torch.load_file(file)):
            assert set(theirs) == set(ours)
            for k, a in ours.items():
                assert np.array_equal(np.asarray(theirs[k]), a, equal_nan=True), k


def test_every_tensor_is_aligned():
    tensors = {"a": np.arange(3, dtype="u1"), "b": np.arange(5, dtype="f4"), "c": np.ones(2)}
    data = to_bytes(tensors, {})
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for name, a in tensors.items():
        assert (start + header[name]["data_offsets"][0]) % a.dtype.itemsize == 0, name
        assert np.array_equal(of_bytes("x", data)[0][name], a)


def test_json_has_no_infinite_number(everything):
    def refuse(text):
        raise AssertionError(text)

    json.loads((everything / "manifest.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize("name", NAMES)
def test_right_results_pass_and_every_moved_element_is_named(name):
    vectors = vectors_of(BY_NAME[name])
    cancels = {c["name"]: c["cancels"] for c in vectors.about["cases"]}
    right = results_of(vectors.arrays)
    assert not check(name, vectors.arrays, right, cancels).wrong
    for key, a in right.items():
        limit = vectors.arrays[key.replace("/", "/bounds/", 2).replace("/bounds/", "/", 1)]
        finite = np.isfinite(a)
        if not finite.any():
            continue
        at = tuple(np.argwhere(finite)[-1])
        moved = a.astype(np.float64)
        moved[at] += 3 * limit[at] + 1e-30
        found = check(name, vectors.arrays, {**right, key: moved}, cancels)
        assert len(found.wrong) == 1, (key, found.wrong)
        assert found.wrong[0].startswith(f"{name}: {key} is off by"), found.wrong
