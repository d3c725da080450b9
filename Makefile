# The front door. `make` alone prints what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# Tests share the cores between processes, so each keeps to one thread.
TEST := GMLIB_PROFILE=test TQDM_DISABLE=1 OMP_NUM_THREADS=1 GMLIB_RESULTS=$(CURDIR)/_build/results
# The corpus of attacks takes ten minutes and has limits in seconds, so it needs a machine that does
# nothing else: `.venv/bin/pytest tests/test_attacks.py`.
APART := --ignore tests/test_attacks.py

.DEFAULT_GOAL := help
.PHONY: help course test lab notebooks full book grade bench clean

help: ## print this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

course: $(INSTALLED) ## install, make the notebooks and the book, grade the example class
	@$(MAKE) --no-print-directory notebooks book grade
	@echo
	@echo "book       _build/student/html/index.html     (for students)"
	@echo "book       _build/instructor/html/index.html  (with solutions)"

test: $(INSTALLED) ## all that CI checks (but the corpus of attacks)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(TEST) $(BIN)/pytest tests -n 2 --dist loadgroup $(APART)
	$(TEST) $(BIN)/pytest --nbval-lax solutions -n 2 --dist loadfile --nbval-cell-timeout 600 --nbval-current-env

lab: $(INSTALLED) ## open JupyterLab on the student notebooks
	$(BIN)/jupyter lab notebooks

notebooks: $(INSTALLED) ## make the notebooks whose lab has changed (runs the lab: minutes)
	$(BIN)/python solutions/make.py
	$(BIN)/python tests/example_class/make.py

full: $(INSTALLED) ## train every lab in the full profile, three seeds (for a GPU; stop it as you like)
	GMLIB_PROFILE=full $(BIN)/python solutions/make.py --seeds 3

book: $(INSTALLED) ## build both editions of the book
	$(BIN)/python book/make.py

grade: $(INSTALLED) ## grade the example class with nbgrader
	$(BIN)/python tests/example_class/grade.py

bench: $(INSTALLED) ## measure speed beside public peers, write the bench page's table (many minutes)
	$(BIN)/python tests/benchmarks/run.py

clean: ## remove what was built, but not the installation
	rm -rf _build .pytest_cache .ruff_cache

$(INSTALLED): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no python3 found; install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
