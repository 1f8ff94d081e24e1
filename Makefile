# Wants make, sh and Python 3.11 or newer: no compiler, nothing installed beside them. `make` alone lists the targets.
.POSIX:
.PHONY: help demo test lint bench e2e e2e-kube e2e-keda e2e-slurm kind screenshot lock clean

# The first of these that is Python 3.11 or newer makes .venv; `make test PYTHON=/path/to/python3` names another.
PYTHON = python3 python3.13 python3.12 python3.11
BIN = .venv/bin
SLURM = 24.11.5
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-compile
COMPILE = uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command 'make lock'

help:
	@echo 'make demo        the live page on a virtual site; Ctrl-C ends it'
	@echo 'make test        all tests; what is skipped is said at the end'
	@echo 'make lint        style, types, layers, and documents that must agree with the code'
	@echo 'make bench       the benchmarks, one after the other (minutes)'
	@echo 'make e2e         both suites below'
	@echo 'make e2e-kube    against a real Kubernetes control plane'
	@echo 'make e2e-keda    against a real KEDA on it, which takes ten minutes to build the first time'
	@echo 'make e2e-slurm   against a real Slurm, as root; SLURM=22.05.8, 24.11.5 or 26.05.5'
	@echo 'make screenshot  docs/images/page.png, taken anew from the running demo (wants Chromium)'
	@echo 'make kind        a kind cluster with virtual GPUs, the chart in it, and its tests (wants docker, kind, helm)'
	@echo 'make lock        all requirements.txt from pyproject.toml (wants uv); UPGRADE=--upgrade for the newest'
	@echo 'make clean       remove .venv, caches and outputs'

demo: .venv/runtime
	$(BIN)/wattlease demo

# The faults one after the other, for they are about time; then the rest, two files at once.
test: .venv/dev
	@failed=0; \
	echo $(BIN)/pytest -raR tests/faults; $(BIN)/pytest -raR tests/faults || failed=1; \
	echo $(BIN)/pytest -raR -n 2 --dist loadfile tests --ignore=tests/faults; \
	$(BIN)/pytest -raR -n 2 --dist loadfile tests --ignore=tests/faults || failed=1; \
	exit $$failed

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m wattlease.runtime.reference --check docs/budget.md
	$(BIN)/python -m wattlease.runtime.crds --check crds/
	$(BIN)/python -m wattlease.runtime.crds --check helm/wattlease/files/crds/

bench: .venv/dev
	@for script in tests/bench/bench_*.py; do \
		echo; echo "== $$script"; \
		$(BIN)/python "$$script" || exit 1; \
	done

e2e: e2e-slurm e2e-kube

# The first time builds the control plane from its Go modules: half an hour on two cores, kept outside the checkout.
# Two files at once, each on a control plane of its own.
e2e-kube: .venv/dev
	$(BIN)/python tests/kube/real/kube_binaries.py
	E2E_KUBE=1 $(BIN)/pytest -raR -n 2 --dist loadfile --no-loadscope-reorder tests/e2e/kube

# Only who asks for KEDA waits the ten minutes that it takes to build.
e2e-keda: .venv/dev
	$(BIN)/python tests/kube/real/kube_binaries.py keda
	E2E_KUBE=1 E2E_KEDA=1 $(BIN)/pytest -raR tests/e2e/kube/test_keda_real_kube.py

# Three at a time, the longest first: the tests wait for Slurm far more than they compute.
e2e-slurm: .venv/dev
	$(BIN)/python tests/slurm/real/slurm_installation.py $(SLURM)
	SLURM=$(SLURM) $(BIN)/pytest -raR -n 3 --dist loadfile --no-loadscope-reorder tests/e2e/slurm

# KEEP=--keep leaves the cluster.
kind: .venv/dev
	examples/kubernetes/kind.sh $(KEEP)

screenshot: .venv/dev
	$(BIN)/python docs/screenshot.py

# hatchling and editables are locked too: the project itself is built without fetching anything. The images hold what
# the tests ran with.
lock:
	@command -v uv >/dev/null || { echo 'make lock wants uv: python3 -m pip install uv'; exit 1; }
	printf 'hatchling>=1.27\neditables>=0.5\n' | $(COMPILE) $(UPGRADE) pyproject.toml - -o requirements.txt
	printf 'hatchling>=1.27\neditables>=0.5\n' | $(COMPILE) $(UPGRADE) -c requirements.txt --group dev --extra all \
		pyproject.toml - -o requirements-dev.txt
	for part in 'agent --extra agent' 'operator --extra operator --extra facility'; do \
		printf 'hatchling>=1.27\n' | $(COMPILE) -c requirements-dev.txt $${part#* } \
			pyproject.toml - -o packaging/$${part%% *}/requirements.txt || exit 1; \
	done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist out
	find src operator slurm_plugin tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/pyvenv.cfg:
	@for python in $(PYTHON); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
			version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
			echo "Python $$version lacks venv or ensurepip; on Debian and Ubuntu:" \
				"apt-get install python$$version-venv"; \
			exit 1; }; \
		echo "Creating .venv with $$("$$python" --version)"; \
		"$$python" -m venv .venv && exit 0; \
		rm -rf .venv; exit 1; \
	done; \
	echo 'Wattlease wants Python 3.11 or newer; none of these is: $(PYTHON)'; \
	echo 'Install one, or name it: make demo PYTHON=/path/to/python3'; \
	exit 1

.venv/runtime: .venv/pyvenv.cfg requirements.txt pyproject.toml
	@echo 'Installing requirements.txt into .venv; every file is checked against its hash'
	@$(PIP) --require-hashes --only-binary :all: -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev: .venv/pyvenv.cfg requirements-dev.txt pyproject.toml
	@echo 'Installing requirements-dev.txt into .venv; every file is checked against its hash'
	@$(PIP) --require-hashes --only-binary :all: -r requirements-dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
