# Needs Python 3.11 or newer, git and make. Everything else is brought into .tools/ and .venv/ of this folder.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PEERS  := .venv-peers
ARGS   ?=
LONG   := tests/chaos tests/journeys tests/simulation $(addprefix tests/workers/test_,publish_kills.py room.py yaml_many.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-peers chaos kills simulate lock clean

help:
	@echo "make demo    the whole pipeline, end to end, on simulated models (ARGS=--real: on Ollama)"
	@echo "make test    all tests but the long ones (ARGS=... goes to pytest)"
	@echo "make check   linter, formatter, types, import contracts, lock, house style"
	@echo "make bench   measurements    make simulate   long simulations of decisions and alarms"
	@echo "make chaos   whole evolutions under random faults (SEED=7 MINUTES=10)    make kills   long kill tests"
	@echo "make bench-peers   our search against others' on a simulated skill (ARGS=--help: what can be chosen)"
	@echo "make setup   only install    make lock    resolve the dependencies anew"
	@echo "make clean   remove what the other targets made"

setup: $(READY)

demo: $(READY)
	@$(BIN)/evoctl demo $(ARGS)

# In two processes, since the long ones mostly wait; with ARGS in one, which gets them.
test: $(READY)
ifeq ($(strip $(ARGS)),)
	@log=$$(mktemp); $(BIN)/pytest $(LONG) >"$$log" 2>&1 & long=$$!; \
	$(BIN)/pytest $(addprefix --ignore=,$(LONG)); rest=$$?; \
	wait $$long; code=$$?; cat "$$log"; rm -f "$$log"; exit $$((rest | code))
else
	@$(BIN)/pytest $(ARGS)
endif

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --exclude '*.md' .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/test_lock.py tests/test_style.py

bench: $(READY)
	@$(BIN)/pytest tests/benchmarks -m benchmark -s $(ARGS)

bench-peers: $(READY) $(PEERS)/.ready
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

# SEED=... replays the plan of faults of another run; MINUTES=... with faults, 10 unless given.
chaos: $(READY)
	@CHAOS_SEED=$(SEED) CHAOS_MINUTES=$(MINUTES) $(BIN)/pytest tests/chaos -m chaos $(ARGS)

kills: $(READY)
	@$(BIN)/pytest tests/journeys tests/workers tests/ops -m chaos $(ARGS)

simulate: $(READY)
	@$(BIN)/pytest tests/simulation -m simulate --timeout=3000 -s $(ARGS)

clean:
	rm -rf $(VENV) $(PEERS) .tools build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv from PATH; else by pip into .tools/, as an environment, or as a plain folder where Python has no ensurepip.
define FIND_UV
UV=$$(command -v uv || true); \
if [ -z "$$UV" ] && [ -x .tools/bin/uv ]; then UV=.tools/bin/uv; fi; \
if [ -z "$$UV" ]; then \
	echo "Bringing uv into .tools/ ..."; \
	{ $(PYTHON) -m venv .tools >/dev/null 2>&1 && .tools/bin/python -m pip install -q --disable-pip-version-check uv; } \
	|| { rm -rf .tools && $(PYTHON) -m pip install -q --disable-pip-version-check --target .tools uv; } \
	|| { rm -rf .tools; echo "uv could not be installed: $(PYTHON) needs pip or ensurepip (Debian: apt install python3-venv), and a network." >&2; exit 1; }; \
	UV=.tools/bin/uv; \
fi
endef

define FIND_PYTHON
PY=$$($(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' 2>/dev/null) \
|| { echo "$(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
endef

$(READY): requirements.lock pyproject.toml
	@$(FIND_PYTHON); $(FIND_UV); set -e; \
	echo "Installing the packages of requirements.lock into $(VENV)/ ..."; \
	[ -x $(BIN)/python ] || $$UV venv -q --clear --python "$$PY" $(VENV); \
	$$UV pip install -q --python $(BIN)/python --require-hashes -r requirements.lock; \
	$$UV pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The peers need Python 3.11 or 3.12, which uv finds or brings.
$(PEERS)/.ready: pyproject.toml
	@$(FIND_UV); set -e; \
	echo "Installing the compared packages into $(PEERS)/ ..."; \
	$$UV venv -q --clear --python ">=3.11,<3.13" $(PEERS); \
	$$UV pip install -q --python $(PEERS)/bin/python --group peers
	@touch $@

# Universal and hashed; no header, so that it names neither a registry nor anyone's paths.
lock:
	@$(FIND_PYTHON); $(FIND_UV); \
	$$UV pip compile -q --universal --generate-hashes --group dev --python-version 3.11 pyproject.toml \
		-o requirements.lock --no-header --no-annotate
