# The verbs of the book. CI runs the same ones; there is no other entry point.
# Options: PYTHON=python3.12   the Python to start from
#          TORCH=cpu           PyTorch without CUDA (on Linux saves gigabytes)
#          PORT=8000           where `make serve` serves
#          CHAPTER=05          the one chapter that `make run`, `make test` and `make figures`
#                              are about
#          FORMAT=svg          how `make figures` draws them

PYTHON ?= python3
VENV   ?= .venv
TORCH  ?=
PORT   ?= 8000
CHAPTER ?=
FORMAT ?=

ifneq ($(words $(VENV)),1)
$(error VENV is '$(VENV)'; allowed is a path without a space)
endif
BIN   := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/ready
RUN   := "$(BIN)/python" -m

# What a reader has set for Python, Jupyter or pip is not meant for the book.
unexport PYTHONHOME PYTHONINSPECT PYTHONOPTIMIZE PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP
unexport PYTHONWARNINGS PYTEST_ADDOPTS PYTEST_PLUGINS MPLBACKEND MATPLOTLIBRC VIRTUAL_ENV

# An environment belongs to one folder and one Python: moved, copied, or with its
# interpreter gone, it is made again.
HERE := test "$$(cat '$(READY)')" = "$$(pwd -P)" && "$(BIN)/python" -c 'import batchnorm'
ifneq ($(shell { $(HERE); } 2>/dev/null || echo stale),)
.PHONY: $(READY)
endif

# Workers compute side by side, so each gets one thread; a figure or a digit
# that depended on the number of threads would be a fault.
WORKERS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
XDIST   := -n auto --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help setup book serve pdf check-site test lint unit notebooks run landing figures handout lab claims bench matrix lock newest clean

help:      ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with the exact versions in requirements.txt

$(READY): requirements.txt
	@sh code/booktools/setup.sh "$(PYTHON)" "$(VENV)" "$(TORCH)"

# The site is there only if it was built without a warning. What has not changed is not
# built again; without _build it begins from nothing.
book: $(READY)  ## build the site into _build/html; a warning is an error
	@$(RUN) booktools.build

serve: $(READY)  ## serve the site on 127.0.0.1, and build it again when a file changes
	@$(RUN) booktools.serve --port $(PORT)

pdf: book  ## print the whole book into one PDF, _build/html/batch-normalization.pdf
	@$(RUN) booktools.pdf
	@$(RUN) booktools.build

check-site: book  ## open every page in a browser: accessibility, links, weight
	@$(RUN) booktools.check_site

# All groups run, whatever fails: who mends a chapter wants the whole list.
ifdef CHAPTER
FORM := tests/book/test_chapters.py tests/book/test_blanks.py
BACK := tests/book/test_back.py tests/book/test_paths.py tests/book/test_solutions.py
ONE := $(wildcard chapters/$(CHAPTER)_*.ipynb)
test: $(READY)
	@$(if $(ONE),,echo "there is no chapter $(CHAPTER)" >&2; exit 1)
	@status=0; export $(WORKERS); \
	$(RUN) ruff check $(ONE) || status=1; $(RUN) ruff format --check $(ONE) || status=1; \
	$(RUN) pytest -q -p booktools.nbval_plugin --nbval $(ONE) || status=1; \
	$(RUN) pytest -q $(FORM) -k $(notdir $(ONE:.ipynb=)) || status=1; \
	$(RUN) pytest -q $(BACK) || status=1; exit $$status
else
test: lint unit notebooks book  ## everything CI checks, or one chapter: CHAPTER=05
endif

lint: $(READY)  ## ruff over code and notebooks; the environment fits together
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) pip --disable-pip-version-check check

unit: $(READY)  ## tests of the code and of the notebooks' form
	@$(WORKERS) $(RUN) pytest $(XDIST) -q tests

notebooks: $(READY)  ## run every chapter and compare all outputs with the stored ones
	@$(WORKERS) $(RUN) pytest $(XDIST) -q -p booktools.nbval_plugin --nbval chapters

run: $(READY)  ## run every notebook, or one, again and store its outputs
	@$(WORKERS) $(RUN) booktools.notebooks $(if $(CHAPTER),chapters/$(CHAPTER)_*.ipynb)

landing: $(READY)  ## take the figure of the first page from its chapter again
	@$(RUN) booktools.landing

figures: $(READY)  ## each figure as a file, for slides; FORMAT=svg runs the chapters
	@$(WORKERS) $(RUN) booktools.figures $(if $(filter svg,$(FORMAT)),--svg) $(CHAPTER)

handout: $(READY)  ## for a class: chapters without solutions, an assignment that grades itself
	@$(RUN) booktools.handout

lab: $(READY)  ## open the chapters in JupyterLab
	@$(RUN) jupyterlab --notebook-dir=chapters $(if $(filter 0,$(shell id -u)),--allow-root)

claims: $(READY)  ## confirm the claims that are not confirmed as they stand
	@$(WORKERS) $(RUN) batchnorm.claims

bench: $(READY)  ## speed, as ratios measured side by side
	@$(RUN) booktools.bench

matrix: $(READY)  ## chapters and claims on other CPUs, threads, versions; takes hours
	@$(RUN) tox

lock: $(READY)  ## write requirements.txt from what is installed in .venv
	@{ sed -n '/^#/p' requirements.txt; \
	   $(RUN) pip --disable-pip-version-check freeze --all --exclude-editable \
	   | sed 's/^\(torch==[0-9.]*\)+.*/\1/' | grep -v '^pip==' | LC_ALL=C sort -f; \
	   } > requirements.tmp
	@mv requirements.tmp requirements.txt && touch "$(READY)"

newest:    ## make .venv with the newest versions that pyproject.toml admits
	@sh code/booktools/setup.sh "$(PYTHON)" "$(VENV)" "$(TORCH)" newest

clean:     ## remove what the other verbs made, the environment too
	rm -rf _build "$(VENV)" .tox .pytest_cache .ruff_cache .hypothesis code/*.egg-info
