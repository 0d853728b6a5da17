# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`. CONTRIBUTING.md says more.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Byte code is written for what is imported, when it is imported: compiling all of it takes longer than the demo's set-up.
INSTALL = $(BIN)/python -m pip install -qq --no-compile --no-input --disable-pip-version-check -c constraints.txt
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check bench-front bench-core reports soak clean

demo: $(VENV)/.installed
	$(BIN)/pareto sweep configs/demo.yaml --out runs/demo

test: $(VENV)/.tested
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench-front: $(VENV)/.tested
	for file in $(wildcard tests/bench/bench_front*.py) tests/bench/bench_intervals.py tests/bench/bench_report.py tests/bench/bench_weights.py; do $(BIN)/python $$file || exit 1; done

# Beside TRL, cell by cell: what is in reports/core/ already is not measured again.
bench-core: $(VENV)/.tested
	$(INSTALL) -e '.[bench]'
	$(BIN)/python tests/bench/bench_core.py
	$(BIN)/python tests/bench/bench_core_rounding.py
	$(BIN)/python tests/bench/bench_tokens.py

# One folder under reports/ is one study: its config is run again (or resumed), what is committed of it is written anew.
reports: $(VENV)/.installed
	@for folder in $(patsubst %/config.yaml,%,$(wildcard reports/*/config.yaml)); do \
		name=$$(basename $$folder); \
		for config in $$folder/config.yaml $$(ls $$folder/configs/*.yaml 2>/dev/null); do \
			$(BIN)/pareto sweep $$config --out runs/$$name || exit 1; done && \
		$(BIN)/pareto report runs/$$name --publish $$folder || exit 1; done

# Sweeps killed at random instants, until there were 200 kills; run folders harmed a thousand times; every command that writes
# on a full disk; ten thousand cells through the store; fuzzed rows and configs. Goes on where it was stopped.
soak: $(VENV)/.tested
	$(BIN)/python tests/soak/soak.py
	$(BIN)/python tests/soak/damage.py
	$(BIN)/python tests/soak/full_disk.py
	$(BIN)/python tests/soak/throughput.py
	$(BIN)/python tests/soak/fuzz_rows.py
	$(BIN)/python tests/soak/fuzz_configs.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the package and what it needs (minutes where torch has to be downloaded)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.tested: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the package and what its tests need (minutes where torch has to be downloaded)"
	@$(INSTALL) -e '.[adaptive,interactive,mo-gymnasium,onnx,parquet,ray,serve,test]'
	@touch $@ $(VENV)/.installed
