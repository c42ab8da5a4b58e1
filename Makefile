# What people run here. How the environments are made is in scripts/setup_env.py.
#
#   PYTHON    the interpreter to make environments with (default: the first suitable on PATH)
#   PIP_ARGS  further arguments for pip install, such as --extra-index-url ADDRESS
#   DEMO      the models of make serve: real or toy
#   ARGS      flags for what the target runs: make serve ARGS="--port 9000"
#   TORCH_INDEX_URL  address of a further index for the images' torch, such as that of its CPU build

DEMO ?= real

export PYTHON
export PIP_ARGS
export TORCH_INDEX_URL
# The environments come without compiled modules; Python compiles each when it is first imported.
# Told not to keep them, every process would compile torch and vLLM anew.
unexport PYTHONDONTWRITEBYTECODE

SETUP := sh scripts/with_python.sh scripts/setup_env.py
BIN := .venv/bin

# tests/conftest.py says how many. ARGS="-n 0" runs all tests in one process, for a debugger say.
WORKERS := -n auto --dist loadgroup --no-loadscope-reorder

# The integration tests start vLLM with it; where it does not exist they are skipped.
export BON_VLLM_PYTHON := $(CURDIR)/.venv-vllm/bin/python

.DEFAULT_GOAL := help
.PHONY: help serve test tests lint format types imports unit env-serve env-test env-vllm \
	demo-models real-model demo-train demo-study demo-compare real-study bench-smoke docs lock wheel image image-test clean

help:  ## Print the targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

serve: env-serve  ## Serve a small real model on http://127.0.0.1:8080, or with DEMO=toy the toy. ARGS="--port 9000".
	@exec $(BIN)/bon-gateway serve --demo $(DEMO) $(ARGS)

test: lint types imports tests  ## Lint, types, import contracts and all tests. pytest's flags: ARGS="-k name".

tests: env-test env-vllm  ## All tests alone.
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

unit: env-test  ## The tests that need neither vLLM nor a GPU.
	$(BIN)/python -m pytest $(WORKERS) -m "not vllm and not gpu" $(ARGS)

lint: env-test  ## Ruff: rules and format.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env-test  ## Let ruff repair what it can.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env-test  ## Mypy, strict.
	$(BIN)/mypy

imports: env-test  ## Who may import whom.
	$(BIN)/lint-imports --no-logo

demo-models: env-test  ## Train the shipped demo models anew.
	$(BIN)/bon-train demo --output runs/demo $(ARGS)
	cp -R runs/demo/policy runs/demo/reward bon_gateway/demo_models/
	rm -rf bon_gateway/demo_models/*/tensorboard bon_gateway/demo_models/*/checkpoints \
		bon_gateway/demo_models/*/report.md bon_gateway/demo_models/*/report-plots

real-model: env-serve  ## A real small language model, into models/ (93 MB to download). Flags: ARGS="--output FOLDER".
	@$(BIN)/bon-gateway demo-models --real $(ARGS)

demo-train: env-test  ## SFT, reward model, DPO and PPO in the demo world, with a report (11 minutes with AVX2, 5 with AVX-512).
	$(BIN)/bon-train demo-train --config trainers/configs/demo-train.yaml $(ARGS)

demo-study: env-test  ## The same over three seeds, and over-optimisation on purpose (37 minutes with AVX2 alone).
	$(BIN)/bon-train demo-study --config trainers/configs/demo-study.yaml $(ARGS)

demo-compare: env-test  ## Best-of-N or a tuned policy, of demo-train or of the shipped models: runs/demo-compare/report.html.
	$(BIN)/bon-gateway compare --embedded --output runs/demo-compare --restart \
		$(if $(wildcard runs/demo-train/dpo/config.json),--trained runs/demo-train) $(ARGS)

real-study: env-test env-vllm  ## Best-of-N and tuned policies on the real model: docs/real-model.md (planned for 4 hours on two cores; goes on where it stopped). Flags: ARGS="--list", "--smoke".
	@PYTHONPATH=benchmarks $(BIN)/python -m real_study $(ARGS)

bench-smoke: env-test env-vllm  ## Run every benchmark that knows --smoke in that short form. Some: ARGS="soak overhead".
	@$(BIN)/python benchmarks/smoke.py $(ARGS)

docs: env-test  ## Regenerate what is derived from the code: docs/*settings.md, the chart's schema, tables, monitoring/.
	$(BIN)/python scripts/settings_doc.py
	$(BIN)/python -m scripts.chart
	$(BIN)/python scripts/sizing.py --write
	$(BIN)/python scripts/monitoring.py

lock:  ## Resolve constraints/*.txt anew.
	@$(SETUP) lock

wheel: env-test  ## Build the wheel into dist/.
	$(BIN)/python -m build --wheel

image:  ## Build the images with docker or buildah. Some of them: ARGS="gateway trainer".
	@sh scripts/with_python.sh -m scripts.image_build $(ARGS)

image-test: env-test  ## Build the images without docker and run them as restricted pods (Linux, root).
	@$(BIN)/python -m scripts.image_check $(ARGS)

clean:  ## Remove the environments and all that was built.
	rm -rf .venv .venv-vllm build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

env-serve:
	@$(SETUP) serve

env-test:
	@$(SETUP) test

env-vllm:
	@$(SETUP) vllm
