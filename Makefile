# Each target makes its own virtual environment when there is none, or when what goes into it changed.

PYTHON ?= python3
VENV ?= .venv

# PyTorch's own index has builds without CUDA, a tenth of the size. Where it cannot be reached, torch
# comes from your default index. `make TORCH_INDEX= ...` takes the default index at once.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TRITON := triton==3.9.0

# What an environment is made of; the checkout belongs to it, since bpx is installed in place.
# A new checkout at an old path is another one: what was built in place there is gone.
CHECKOUT := .cache/checkout
$(shell mkdir -p .cache; test -s $(CHECKOUT) || $(PYTHON) -c 'import uuid; print(uuid.uuid4())' > $(CHECKOUT))
INPUTS := $(CHECKOUT) constraints.txt pyproject.toml setup.py $(sort $(wildcard bpx/native/*.c bpx/native/*.h))
KEY := $(shell $(PYTHON) -c 'import hashlib, os, sys; h = hashlib.sha256(os.getcwd().encode()); \
	[h.update(open(p, "rb").read()) for p in sys.argv[1:]]; print(h.hexdigest()[:16])' $(INPUTS))
STAMP := $(VENV)/bpx-$(KEY)
PIP := $(VENV)/bin/python -m pip

export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax

.PHONY: demo test test-slow lint ruff mypy docs docs-check bench coverage sanitize ulp

demo: $(STAMP)
	$(VENV)/bin/python -m bpx demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal

# what `test` leaves out: sweeps, whole networks, and other libraries' conventions
test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal -m slow

lint: ruff mypy

ruff: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

mypy: $(STAMP)
	$(VENV)/bin/mypy

docs: $(STAMP)
	$(VENV)/bin/python -m bpx docs

docs-check: $(STAMP)
	$(VENV)/bin/python -m bpx docs --check

bench: $(STAMP)
	$(VENV)/bin/python -m bpx bench

# the native core with AddressSanitizer and UndefinedBehaviorSanitizer, through all cases and random calls
sanitize: $(STAMP)
	$(VENV)/bin/python tests/native_sanitizers.py

# The tests that run the specification's own lines. Coverage starts before pytest does, whose plugin
# in bpx would load the specification unseen.
COVERING := spec initializers initializers_faces initializers_laws lsuv mup optimizers optimizers_arrays \
	optimizers_schedule_free optimizers_zeros schedules transforms transforms_torch metrics faces_dropout \
	shared_arithmetic

coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m coverage run -m pytest -q $(COVERING:%=tests/test_%.py)
	$(VENV)/bin/python -m coverage report

# Torch goes first and without its dependencies, so that the second line finds it and takes the
# dependencies, pinned, from the default index. Triton is for the tests alone and may be missing.
$(STAMP):
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -c 'import torch' 2>/dev/null || test -z "$(TORCH_INDEX)" \
		|| $(PIP) install -q --retries 0 --timeout 15 --no-deps -c constraints.txt --index-url "$(TORCH_INDEX)" torch \
		|| echo "$(TORCH_INDEX) gave no torch; taking it from the default index"
	$(PIP) install -q -c constraints.txt setuptools -e '.[dev]'
	$(VENV)/bin/python -c 'import triton' 2>/dev/null || test "$$(uname)" != Linux \
		|| $(PIP) install -q --no-deps $(TRITON) || echo "no $(TRITON): its tests are skipped"
	rm -f $(VENV)/bpx-*
	touch $@

# The error of the native core's exp, log, erf, ... at every float32 and at 8 million float64 inputs, for
# this machine and for the baseline: half an hour for each.
ULP := $(CC) -std=c11 -D_GNU_SOURCE -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -fopenmp-simd \
	-Ibpx/native tests/native_math_ulp.c -lm -lquadmath

ulp:
	$(ULP) -march=native -o .cache/ulp && .cache/ulp 1 8000000
	$(ULP) -o .cache/ulp && .cache/ulp 1 8000000
