export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH PIP_TARGET PIP_PREFIX
export PIP_USER := 0
# In a container, a user may have neither a name nor a home; DVC needs both.
export USER := $(or $(USER),$(shell id -un 2>/dev/null || id -u))
export HOME := $(or $(HOME),$(CURDIR)/build/home)

# Set up again a .venv that was left half-made, or whose Python the system has replaced.
ifneq ($(wildcard .venv/ready),)
    $(shell .venv/bin/python -c 'import pip' 2>/dev/null || rm .venv/ready .venv/ready-dev 2>/dev/null)
endif

.DEFAULT_GOAL := run
.PHONY: run demo dataset recipe sweep cluster push verify gate locked test test-slow test-emulated fuzz bench check format lock clean help

run: .venv/ready ## run the pipeline: those of the six stages that have changed
	@python -m tools.run

demo: .venv/ready ## run the pipeline on scikit-learn's digits, offline, in build/demo
	@python -m tools.demo

# Quoted as variables of the shell, since a folder's name may have blanks and quotes.
dataset: .venv/ready ## make a data set from your own images: NAME=letters FROM=folder; OPTIONS=--help lists the options
	@python -m tools.dataset $(foreach key,NAME FROM,"$(if $(findstring command line,$(origin $(key))),$$$(key))") $(OPTIONS)

recipe: .venv/ready ## run a recipe as a DVC experiment: NAME=recipe, without it list them; FRESH=1 runs all stages
	@python -m tools.recipe $(if $(findstring command line,$(origin NAME)),"$(NAME)") $(if $(FRESH),--fresh)

sweep: .venv/ready ## run each setting of sweep.yaml as a DVC experiment, ranked by validation accuracy; GRID=file
	@python -m tools.sweep $(if $(GRID),"$(GRID)")

cluster: .venv/ready ## train with several workers, as processes on this machine, and compare with one: WORKERS=2
	@python -m tools.cluster $(WORKERS) $(if $(PRECISION),--precision "$(PRECISION)")

push: .venv/ready ## push every run to DVC's remote; other machines download it with `dvc repro --pull`
	@python -m tools.push

verify: .venv/ready ## check that a run from nothing gives the bytes of dvc.lock; STAGE=name runs up to one stage
	@python -m tools.verify $(if $(STAGE),--stage "$(STAGE)")

gate: .venv/ready ## is the accuracy above the floor of params.yaml, and without a drop since a revision; REV=HEAD
	@python -m tools.gate $(if $(REV),"$(REV)")

locked: .venv/ready ## is dvc.lock up to date (a git hook runs it: .pre-commit-config.yaml)
	@python -m tools.locked

test: .venv/ready-dev ## run the tests (4 to 6 minutes)
	@python -m pytest --numprocesses 2 --dist worksteal

test-slow: .venv/ready-dev ## run the slow tests: whole runs, faults, several workers, the report in a browser (10 to 18 minutes)
	@python -m pytest --numprocesses 2 --dist worksteal -m slow

test-emulated: .venv/ready-dev ## compare the bytes of a small run on emulated CPUs (needs qemu-user)
	@python -m pytest --numprocesses 2 --dist worksteal -m emulated

fuzz: .venv/ready-dev ## test the reader of the data set on a million invalid files
	@python -m tests.dataset.fuzz_idx

bench: .venv/ready ## compare with the tutorial's program, in docs/benchmark.md (45 minutes)
	@python -m tools.bench $(if $(ONLY),--only "$(ONLY)")

check: .venv/ready-dev ## formatting, lint, types, spelling, security of the workflow
	@ruff format --check .
	@ruff check .
	@mypy
	@codespell
	@zizmor --offline --quiet .github

format: .venv/ready-dev ## format the code, fix lint errors
	@ruff format .
	@ruff check --fix .

lock: .venv/ready-dev ## lock the newest versions that requirements*.in allow
	@for name in requirements requirements-dev; do \
	    uv pip compile --quiet --upgrade $$name.in -o $$name.txt || exit 1; \
	done

clean: ## delete .venv and build; data, models and reports stay
	rm -rf .venv build

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

.venv/ready: requirements.txt
	@sh tools/setup.sh requirements.txt
	@touch $@

.venv/ready-dev: requirements-dev.txt .venv/ready
	@sh tools/setup.sh requirements-dev.txt
	@touch $@
