"""The sizes that fill a GPU: which entries have them, and the bytes that a pair of passes moves."""

import pytest

import bpx
from bpx import _bench_huge, _inputs

SPECS = {spec.name: spec for spec in bpx.ALL}


def test_every_entry_with_a_kernel_has_rows():
    pytest.importorskip("torch")
    from bpx_torch import RULES
    from bpx_torch import bench as torch_bench

    assert set(torch_bench.GPU_NAMES) == {
        name for name, r in RULES.items() if "triton" in [k.name for k in r.kernels]
    }
    for name in torch_bench.GPU_NAMES:
        spec, about = SPECS[name], _bench_huge.huge(SPECS[name])
        names = {a.name for a in spec.args}
        assert {*about.absent, *about.constant, *about.unread} <= names
        for row in about.rows:
            assert {*_inputs.sizes(spec, row), *set(row).intersection(spec.options)} == set(row)
            assert _bench_huge.moved(spec, row, about, 2) > 2**28


def test_products_have_one_row_above_16_bits():
    about = _bench_huge.huge(SPECS["linear_cross_entropy"])
    assert [row["N"] for row in about.of("bfloat16")] == [4096, 16_384, 32_768]
    assert [row["N"] for row in about.of("float32")] == [4096]
    assert _bench_huge.huge(SPECS["conv"]) is None


@pytest.mark.parametrize(
    ("name", "row", "item", "moved"),
    [
        ("silu", {"N": 10}, 2, 5 * 10 * 2),  # x, y; dy, x, dx
        ("exp", {"N": 10}, 4, 5 * 10 * 4),  # x, y; dy, y, dx
        ("leaky_relu", {"N": 10}, 2, 4 * 10 * 2 + 2 * 10),  # and the mask, twice
        ("swiglu", {"N": 10}, 2, 8 * 10 * 2),
        ("dropout", {"N": 16, "B": 2}, 2, 4 * 16 * 2 + 2 * 2),
        ("rope", {"N": 3, "T": 2, "D": 4, "P": 2}, 2, 4 * 24 * 2 + 2 * 8 * 2),
        # x, weight, bias, y, mu, rstd; dy, x, weight, mu, rstd, dx, dweight, dbias
        ("layer_norm", {"N": 3, "D": 5}, 2, 5 * 15 * 2 + 5 * 5 * 2 + 4 * 3 * 4),
        # x, x, weight, bias, y, mean, rstd, var; dy, dy, x, x, weight, mean, rstd, var, dx, ...
        (
            "batch_norm",
            {"B": 3, "C": 5, "S": 2, "training": True},
            2,
            8 * 30 * 2 + 5 * 5 * 2 + 6 * 5 * 4,
        ),
        # logits, target, y, lse; dy, logits, target, lse, dlogits
        ("cross_entropy", {"N": 3, "V": 5}, 2, 3 * 15 * 2 + 2 * 3 * 8 + 2 * 3 * 4 + 2 * 2),
    ],
)
def test_bytes_moved(name, row, item, moved):
    assert _bench_huge.moved(SPECS[name], row, _bench_huge.huge(SPECS[name]), item) == moved
