"""Files of a run: bits in every layout, by the command too; and whatever is wrong with one."""

import json
import os
import pickle

import numpy as np
import pytest

from bpx import convert
from bpx.__main__ import main
from bpx.convert import files
from bpx.spec import SpecError

torch = pytest.importorskip("torch")

import bpx_torch.interchange as ti

T = torch.nn


def a_run(dtype=torch.float64):
    """A network with the odd ones: no elements, one, an array of the model's own, a counter."""
    torch.manual_seed(4)
    model = T.Sequential(T.Linear(3, 4), T.BatchNorm1d(4), T.LayerNorm(4), T.PReLU())
    model.register_parameter("own", T.Parameter(torch.tensor(-0.0)))
    model.register_parameter("none", T.Parameter(torch.zeros(0, 4)))
    model.to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.99))
    for _ in range(3):
        y = model(torch.randn(5, 3, dtype=dtype))
        (y.square().sum() + 2 * model.own + model.none.sum()).backward()
        optimizer.step()
    return convert.Run(
        ti.weights(model), ti.optimizer_state(optimizer, model), 3, more={"seed": 4, "é": [1]}
    )


def same(a, b):
    for got, want in (
        (a.weights.arrays, b.weights.arrays),
        *((a.optimizer.slots[k], b.optimizer.slots[k]) for k in b.optimizer.slots),
    ):
        assert set(got) == set(want)
        for n in want:
            assert (got[n].dtype, got[n].shape) == (want[n].dtype, want[n].shape)
            assert got[n].tobytes() == want[n].tobytes(), n
    assert a.weights.structure == b.weights.structure
    assert (a.step, a.more, a.optimizer.steps) == (b.step, b.more, b.optimizer.steps)
    assert [dict(g.options) | {"betas": ()} for g in a.optimizer.groups] == [
        dict(g.options) | {"betas": ()} for g in b.optimizer.groups
    ]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_command_through_every_layout(tmp_path, capsys, dtype):
    run = a_run(dtype)
    path = tmp_path / "torch.safetensors"
    convert.save(path, run)
    for layout in ("plain", "nnx", "equinox", "torch"):
        after = tmp_path / f"{layout}.2"
        assert main(["convert", str(path), str(after), "--to", layout]) == 0
        assert f"12 arrays, Adam at step 3, {layout} layout" in capsys.readouterr().out
        found = convert.load(after)
        assert found.layout == layout
        same(found, run)
        path = after
    assert (tmp_path / "torch.safetensors").read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["torch.safetensors", *(f"{n}.2" for n in ("plain", "nnx", "equinox", "torch"))]
    )


def test_other_readers_and_writers(tmp_path):
    """The reference implementation reads the tensors of ours; ours reads its file, and says that it
    has no structure."""
    numpy = pytest.importorskip("safetensors.numpy")
    run = a_run()
    convert.save(tmp_path / "a", run, "nnx")
    found = numpy.load_file(tmp_path / "a")
    np.testing.assert_array_equal(
        found["weights/layers.0.kernel"], run.weights.arrays["0.weight"].T
    )
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.zeros((0, 2), "f4"), "c": np.array(True)}
    numpy.save_file(arrays, tmp_path / "b")
    tensors, metadata = files.of_bytes("b", (tmp_path / "b").read_bytes())
    assert metadata == {}
    assert all(np.array_equal(tensors[n], arrays[n]) for n in arrays)
    assert files.of_bytes("c", files.to_bytes(arrays, {"k": "v"}))[1] == {"k": "v"}
    assert numpy.load(files.to_bytes(arrays, {}))["c"].dtype == bool
    with pytest.raises(SpecError, match="b has no structure of bpx: it was written by something"):
        convert.load(tmp_path / "b")


def edited(data, change):
    """The file with another header."""
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + n :]


def set_in(name, key, value):
    return lambda data: edited(data, lambda h: h[name].__setitem__(key, value))


def about(change):
    """The file with another record of bpx."""

    def edit(header):
        record = json.loads(header["__metadata__"]["bpx.convert"])
        change(record)
        header["__metadata__"]["bpx.convert"] = json.dumps(record)

    return lambda data: edited(data, edit)


def flipped(data):
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


W = "weights/0.weight"
DAMAGE = {
    "is no safetensors file": lambda data: pickle.dumps({"a": 1}),
    "no safetensors file": lambda data: b"",
    "1: no safetensors file": lambda data: b"PK\x03\x04" + data,
    "is damaged: it ends at byte": lambda data: data[:-1],
    "1: is damaged: it ends at byte": lambda data: data[:100],
    "is damaged: 4 bytes follow the last tensor": lambda data: data + b"1234",
    "the hash of its tensors differs": flipped,
    "its header is no JSON": lambda data: data[:20] + b"\xff" + data[21:],
    "has 96 bytes, expected 104": set_in(W, "shape", [13]),
    "2: has no dtype, shape and offsets": set_in(W, "shape", [-12]),
    "has no dtype, shape and offsets": set_in(W, "data_offsets", [0]),
    "starts at byte 0, expected": set_in(W, "data_offsets", [0, 96]),
    "has dtype 'F8_E5M2', expected one of": set_in(W, "dtype", "F8_E5M2"),
    "its metadata are not text": set_in("__metadata__", "more", 1),
    "has format 2, expected 1": about(lambda r: r.update(format=2)),
    "has layout 'keras', expected one of": about(lambda r: r.update(layout="keras")),
    "is at step -1, expected a number of steps": about(lambda r: r.update(step=-1)),
    "its structure does not fit its arrays": about(
        lambda r: (
            r.update(layout="nnx"),
            r["structure"]["layers"].update({"2": ["attention", {}]}),
        )
    ),
    "1: its header is no JSON": lambda data: (
        (10**6).to_bytes(8, "little") + b'{"a":' + b"[" * 10**6
    ),
    "its record is not complete": about(lambda r: r.pop("step")),
    "structure is not one that bpx wrote": about(lambda r: r["structure"].pop("layers")),
    "optimizer is not one that bpx wrote": about(lambda r: r["optimizer"].pop("steps")),
    "Prodigy: its state does not pass": about(lambda r: r["optimizer"].update(name="Prodigy")),
    "1: an optimizer's arrays are not expected": about(lambda r: r.update(optimizer=None)),
    "0.weight is F64": about(lambda r: r["structure"]["arrays"]["0.weight"].__setitem__(0, "F32")),
    "1: 0.weight is F64": about(lambda r: r["structure"]["arrays"]["0.weight"][1].reverse()),
    "0.weight is not expected": about(lambda r: r["structure"]["arrays"].pop("0.weight")),
    "more is missing": about(
        lambda r: r["structure"]["arrays"].update(more=["F32", [2], "parameter"])
    ),
    "step of ['9.w'] is not expected": about(lambda r: r["optimizer"]["steps"].update({"9.w": 1})),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "a"
    convert.save(path, a_run())
    return path.read_bytes()


@pytest.mark.parametrize("sentence", DAMAGE)
def test_damage(tmp_path, capsys, data, sentence):
    path, target = tmp_path / "a", tmp_path / "b"
    path.write_bytes(DAMAGE[sentence](data))
    target.write_bytes(b"as it was")
    with pytest.raises(SpecError) as caught:
        convert.load(path)
    assert sentence.split(": ", 1)[-1] in str(caught.value)
    assert str(path) in str(caught.value)
    assert main(["convert", str(path), str(target), "--to", "nnx"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert target.read_bytes() == b"as it was"


def test_command_says_what_it_cannot_do(tmp_path, capsys):
    model = T.Bilinear(2, 3, 4)
    convert.save(tmp_path / "a", convert.Run(ti.weights(model)))
    for args, message in (
        (["none", "b", "--to", "nnx"], "cannot read none: No such file or directory"),
        ([tmp_path / "a", "b", "--to", "nnx"], "(Bilinear): flax.nnx has no such layer"),
        ([tmp_path / "a", tmp_path / "no/b", "--to", "plain"], "cannot write"),
    ):
        assert main(["convert", *map(str, args)]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
    with pytest.raises(SystemExit) as caught:
        main(["convert", "a", "b", "--to", "keras"])
    assert caught.value.code == 2
    assert "invalid choice: 'keras'" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
