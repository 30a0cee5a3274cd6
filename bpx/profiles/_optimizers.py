"""Optimizers: rates, decays, where eps stands, whether the rate is inside the momentum.

keras decouples weight decay from the gradient in every optimizer.
Sources: torch.optim 2.13, optax 0.2.8, keras.optimizers 3.15.
"""

from __future__ import annotations

from collections.abc import Mapping

from bpx.profiles._profile import REQUIRED, Profile

COUPLED = {"weight_decay": 0.0, "decoupled_weight_decay": False}
DECOUPLED = {"weight_decay": 0.0, "decoupled_weight_decay": True}
PLAIN = {"bias_correction": False, "eps_added": False, "inputs_first": False}  # Muon
OF_TORCH = {  # Adafactor
    "relative_step": True,
    "decay_by_lr": True,
    "largest_axes": False,
    "min_dim_size_to_factor": 0,
}
HAT = "eps beside the uncorrected sqrt(v): eps-hat of the paper, section 2"

TABLE: dict[str, Mapping[str, Profile]] = {
    "adadelta": {
        "torch": Profile({"lr": 1.0, "rho": 0.9, "eps": 1e-6}, "Adadelta"),
        "optax": Profile({"lr": REQUIRED, "rho": 0.9, "eps": 1e-6}, "adadelta"),
        "keras": Profile(
            {"lr": 1e-3, "rho": 0.95, "eps": 1e-7},
            "Adadelta",
            "keras's weight decay is decoupled, which has no option here",
        ),
    },
    "nadam": {
        "torch": Profile({"lr": 2e-3, "eps": 1e-8, "momentum_decay": 4e-3} | COUPLED, "NAdam"),
        "keras": Profile({"lr": 1e-3, "eps": 1e-7, "momentum_decay": 1.0} | DECOUPLED, "Nadam"),
    },
    "radam": {
        "torch": Profile(
            {"lr": 1e-3, "eps": 1e-8, "eps_corrected": False, "inclusive": False} | COUPLED,
            "RAdam",
            "eps before the bias correction, rho > 5",
        ),
        "optax": Profile(
            {"lr": REQUIRED, "eps": 1e-8, "eps_corrected": True, "inclusive": True},
            "radam",
            "eps after the bias correction, rho >= 5; no weight decay",
        ),
    },
    "adamax": {
        "torch": Profile({"lr": 2e-3, "eps": 1e-8, "eps_outside": False} | COUPLED, "Adamax"),
        "optax": Profile(
            {"lr": REQUIRED, "eps": 1e-8, "eps_outside": False}, "adamax", "no weight decay"
        ),
        "keras": Profile({"lr": 1e-3, "eps": 1e-7, "eps_outside": True} | DECOUPLED, "Adamax"),
    },
    "lion": {
        "optax": Profile({"lr": REQUIRED, "weight_decay": 1e-3}, "lion"),
        "keras": Profile({"lr": 1e-3, "weight_decay": 0.0}, "Lion"),
    },
    "rprop": {
        "torch": Profile({"lr": 1e-2, "clamp_unchanged": True}, "Rprop"),
        "optax": Profile(
            {"lr": REQUIRED, "clamp_unchanged": False},
            "rprop",
            "optax makes each step one call late, which has no option here",
        ),
    },
    "muon": {
        "torch": Profile(
            {"lr": 1e-3, "weight_decay": 0.1, "eps": 1e-7, "adjust_lr_fn": None} | PLAIN,
            "Muon",
            "outputs on axis 0",
        ),
        "optax": Profile(
            {
                "lr": REQUIRED,
                "weight_decay": 0.0,
                "eps": 1e-8,
                "adjust_lr_fn": None,
                "bias_correction": True,
                "eps_added": True,
                "inputs_first": True,
            },
            "contrib.muon",
            "inputs on axis 0; eps is also AdamW's, which steps what is no matrix",
        ),
        "keras": Profile(
            {
                "lr": 1e-3,
                "weight_decay": 4e-3,
                "eps": 5e-9,
                "adjust_lr_fn": "match_rms_adamw",
            }
            | PLAIN
            | {"eps_added": True},
            "Muon",
            "its eps is 1e-7 beside a momentum that is 1 / (1 - momentum) times as large: for "
            "another momentum give eps = 1e-7 (1 - momentum). Of matrices alone: the AdamW that "
            "steps the others has no profile here",
        ),
    },
    "adafactor": {
        "torch": Profile(
            {"lr": 1e-2, "eps": (None, 1e-3)} | OF_TORCH | {"eps_in_square": False},
            "Adafactor",
            "factored along the last two axes; eps None is the spacing of 1 in the dtype",
        ),
        "optax": Profile(
            {
                "lr": 1.0,
                "eps": (1e-30, 1e-3),
                "eps_in_square": True,
                "relative_step": False,
                "decay_by_lr": False,
                "largest_axes": True,
                "min_dim_size_to_factor": 128,
            },
            "adafactor",
            "factored along the two longest axes; optax takes the decay of the moments in float32",
        ),
        "keras": Profile(
            {"lr": 1e-3, "eps": (1e-30, 1e-3)} | OF_TORCH | {"eps_in_square": True},
            "Adafactor",
            "keras decays a parameter before it takes its root mean square, here after",
        ),
    },
    "lars": {
        "optax": Profile(
            {"lr": REQUIRED, "weight_decay": 0.0, "norm_of_sum": True, "lr_in_momentum": True},
            "lars",
        ),
    },
    "lamb": {
        "optax": Profile({"lr": REQUIRED, "eps": 1e-6, "weight_decay": 0.0}, "lamb"),
        "keras": Profile(
            {"lr": 1e-3, "eps": 1e-7, "weight_decay": 0.0},
            "Lamb",
            "keras's weight decay is decoupled from the trust ratio, which has no option here",
        ),
    },
    "sgd": {
        "torch": Profile({"lr": 1e-3, "lr_in_momentum": False} | COUPLED, "SGD"),
        "optax": Profile({"lr": REQUIRED, "lr_in_momentum": False}, "sgd", "no weight decay"),
        "keras": Profile(
            {"lr": 1e-2, "lr_in_momentum": True} | DECOUPLED,
            "SGD",
            "the buffer holds steps, already multiplied by the rate of their time",
        ),
    },
    "adagrad": {
        "torch": Profile(
            {
                "lr": 1e-2,
                "initial_accumulator_value": 0.0,
                "eps": 1e-10,
                "eps_in_sqrt": False,
            }
            | COUPLED,
            "Adagrad",
        ),
        "optax": Profile(
            {
                "lr": REQUIRED,
                "initial_accumulator_value": 0.1,
                "eps": 1e-7,
                "eps_in_sqrt": True,
            },
            "adagrad",
            "no weight decay",
        ),
        "keras": Profile(
            {
                "lr": 1e-3,
                "initial_accumulator_value": 0.1,
                "eps": 1e-7,
                "eps_in_sqrt": True,
            }
            | DECOUPLED,
            "Adagrad",
        ),
    },
    "rmsprop": {
        "torch": Profile(
            {
                "lr": 1e-2,
                "alpha": 0.99,
                "eps": 1e-8,
                "eps_in_sqrt": False,
                "lr_in_momentum": False,
            }
            | COUPLED,
            "RMSprop",
        ),
        "optax": Profile(
            {
                "lr": REQUIRED,
                "alpha": 0.9,
                "eps": 1e-8,
                "eps_in_sqrt": True,
                "lr_in_momentum": True,
            },
            "rmsprop",
            "no weight decay",
        ),
        "keras": Profile(
            {
                "lr": 1e-3,
                "alpha": 0.9,
                "eps": 1e-7,
                "eps_in_sqrt": True,
                "lr_in_momentum": True,
            }
            | DECOUPLED,
            "RMSprop",
        ),
    },
    "adam": {
        "torch": Profile(
            {"lr": 1e-3, "eps": 1e-8, "eps_hat": False, "max_corrected": False} | COUPLED,
            "Adam",
            "amsgrad: the maximum of v, then corrected",
        ),
        "optax": Profile(
            {"lr": REQUIRED, "eps": 1e-8, "eps_hat": False, "max_corrected": True},
            "adam",
            "no weight decay; amsgrad: the maximum of the corrected v",
        ),
        "keras": Profile(
            {"lr": 1e-3, "eps": 1e-7, "eps_hat": True, "max_corrected": False} | DECOUPLED,
            "Adam",
            HAT,
        ),
    },
    "adamw": {
        "torch": Profile(
            {"lr": 1e-3, "eps": 1e-8, "eps_hat": False, "weight_decay": 1e-2}, "AdamW"
        ),
        "optax": Profile(
            {"lr": REQUIRED, "eps": 1e-8, "eps_hat": False, "weight_decay": 1e-4}, "adamw"
        ),
        "keras": Profile(
            {"lr": 1e-3, "eps": 1e-7, "eps_hat": True, "weight_decay": 4e-3}, "AdamW", HAT
        ),
    },
}
