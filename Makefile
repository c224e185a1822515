# Every target sets up what it needs, from a bare Python >= 3.11.
#
#   make demo     train a digit classifier with a gradloom gradient (docs/demo/)
#   make test     run every test            make test PYTEST_ARGS="-k sin -x"
#   make lint     ruff and pyright
#   make bench    benchmarks against the peers, in an environment of their own (large: torch, jax)
#   make clean    remove caches and outputs; make distclean removes the environments as well
#
# An environment that is already there is used as it is; a stamp file inside it records which extra
# was installed from which pyproject.toml.

SHELL := /bin/sh
VENV ?= .venv
VENV_BENCH ?= .venv-bench
PIP_FLAGS := -qq --disable-pip-version-check
# The default index would bring several gigabytes of CUDA with torch.
PIP_FLAGS_BENCH := --extra-index-url https://download.pytorch.org/whl/cpu
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean distclean

help:
	@sed -n '3,7s/^# *//p' Makefile

demo: $(VENV)/.stamp-demo
	@$(VENV)/bin/python docs/demo/digits.py $(DEMO_ARGS)

test: $(VENV)/.stamp-test
	@$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.stamp-lint
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/pyright

bench: $(VENV_BENCH)/.stamp-bench
	@$(VENV_BENCH)/bin/python -m bench $(BENCH_ARGS)

clean:
	rm -rf build dist .pytest_cache .hypothesis .ruff_cache
	find compiler runtime tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV_BENCH)

STAMPS := $(VENV)/.stamp-demo $(VENV)/.stamp-test $(VENV)/.stamp-lint $(VENV_BENCH)/.stamp-bench

$(STAMPS): EXTRA = $(subst .stamp-,,$(@F))
$(VENV_BENCH)/.stamp-bench: PIP_EXTRA = $(PIP_FLAGS_BENCH)
$(VENV_BENCH)/.stamp-bench: PIP_UNPINNED = pytensor==3.0.7
$(STAMPS): pyproject.toml
	@echo "Installing gradloom[$(EXTRA)] into $(@D) (the first time takes a while)"
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) $(PIP_EXTRA) --editable '.[$(EXTRA)]'
	@$(if $(PIP_UNPINNED),$(@D)/bin/python -m pip install $(PIP_FLAGS) --no-deps $(PIP_UNPINNED))
	@touch $@

$(filter $(VENV)/%,$(STAMPS)): | $(VENV)/bin/python
$(filter $(VENV_BENCH)/%,$(STAMPS)): | $(VENV_BENCH)/bin/python

# The directory a stamp stands in is the environment; `PYTHON=...` chooses the interpreter it is
# made from. Without ensurepip (Debian splits it off) the environment borrows the system's pip.
$(VENV)/bin/python $(VENV_BENCH)/bin/python: %/bin/python:
	@python=; for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "gradloom needs Python 3.11 or newer; 'python3' here is: $$(python3 --version 2>&1)" >&2; \
	  echo "Install a newer Python, or name one: make PYTHON=/path/to/python3.12 ..." >&2; \
	  exit 1; \
	fi; \
	echo "Setting up $* with $$("$$python" --version)"; \
	if "$$python" -c 'import ensurepip' 2>/dev/null; then \
	  "$$python" -m venv $*; \
	elif "$$python" -m pip --version >/dev/null 2>&1; then \
	  "$$python" -m venv --without-pip $* && \
	  "$$python" -m pip --python $*/bin/python install $(PIP_FLAGS) pip; \
	else \
	  echo "$$python has neither ensurepip nor pip (on Debian: apt install python3-venv)" >&2; \
	  false; \
	fi || { rm -rf $*; exit 1; }
