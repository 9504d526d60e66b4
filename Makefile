# `make` lists what can be made. Everything creates what it needs first.

PYTHON ?= python3
GPU ?= auto
EXPERIMENT ?=
PAIR ?=
QUANTS ?=
STRATEGIES ?=
NGL ?=
LIMIT ?=
SEED ?=
EPOCHS ?=
PARALLEL ?=
OUT ?=
RUN ?=
BASELINE ?=
MODEL ?=
UPDATE ?=
IFEVAL ?=
PYTEST ?=
LLAMA_SERVER ?=
LLAMA_BATCHED_BENCH ?=

BIN = .venv/bin
READY = .venv/.ready
READY_DEV = .venv/.ready-dev
NEEDS = pyproject.toml constraints.txt scripts/setup.sh

.DEFAULT_GOAL := help
.PHONY: help setup eval test test-slow test-real test-exact test-recipe lint bench report gate levels choose view example setup-weights family evidence clean

help: ## list the targets and variables
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables:"
	@echo "  EXPERIMENT=   experiment to run: a file or a shipped name (default: tiny)"
	@echo "  PAIR=         a pair of the registry instead (make eval PAIR=smollm2-135m QUANTS=Q8_0)"
	@echo "  QUANTS=       quantization levels, comma-separated (Q8_0,Q4_K_M)"
	@echo "  STRATEGIES=   prompt strategies of the base model, comma-separated (qa,icl_3)"
	@echo "  NGL=          layers to offload to the GPU: a number, -1 for all, auto"
	@echo "  LIMIT=        items per suite; SEED= EPOCHS= PARALLEL= as in \`harness run --help\`"
	@echo "  OUT=          folder for the reports (default: reports/<experiment>/<run>)"
	@echo "  RUN=          a run's folder, for make report"
	@echo "  GPU=          auto|cuda|metal|vulkan|none: how setup builds llama.cpp"
	@echo "  PYTHON=       the interpreter .venv is made from (3.10 or newer)"

$(READY): $(NEEDS)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval "$(GPU)"
	@touch $@

$(READY_DEV): $(NEEDS)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval,dev "$(GPU)"
	@touch $@ $(READY)

setup: ## create .venv and build llama.cpp for GPU=
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval "$(GPU)"
	@touch $(READY)

eval: $(READY) ## run an experiment and write its reports (offline with the default)
	@$(BIN)/harness run $(or $(EXPERIMENT),$(if $(PAIR),pair,tiny)) \
	    $(if $(PAIR),--pair "$(PAIR)") $(if $(QUANTS),--quants "$(QUANTS)") \
	    $(if $(STRATEGIES),--strategies "$(STRATEGIES)") $(if $(NGL),--ngl "$(NGL)") \
	    $(if $(LIMIT),--limit "$(LIMIT)") $(if $(SEED),--seed "$(SEED)") \
	    $(if $(EPOCHS),--epochs "$(EPOCHS)") $(if $(PARALLEL),--parallel "$(PARALLEL)") \
	    $(if $(OUT),-o "$(OUT)")

choose: $(READY) ## which of two models, for what: the bundled family on the bundled texts, offline
	@$(BIN)/harness choose $(or $(EXPERIMENT),tiny) $(if $(PAIR),--pair "$(PAIR)") --suite tiny \
	    --text tiny-texts --infill tiny-gaps --spm --examples tiny --limit $(or $(LIMIT),60) \
	    $(if $(NGL),--ngl "$(NGL)") $(if $(OUT),-o "$(OUT)")

test: $(READY_DEV) ## run the fast tests (the recipe's: make test-recipe)
	@$(BIN)/python -m pytest --ignore=tests/recipe $(PYTEST)

test-slow: $(NEEDS) ## run tests that take longer, properties with more examples (installs transformers)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval,dev,reference "$(GPU)"
	@$(BIN)/python -m pytest -m "(slow or hypothesis) and not real" --ignore=tests/recipe \
	    --hypothesis-profile thorough $(PYTEST)

test-real: $(READY_DEV) setup-weights ## run the tests on real weights (downloads 350 MB)
	@$(BIN)/python -m pytest -m "real and not slow" $(PYTEST)

test-exact: $(READY_DEV) setup-weights ## compare texts at every width and load on real weights (long)
	@$(BIN)/python -m pytest -m "real and slow" $(PYTEST)

test-recipe: $(NEEDS) ## run the recipe's tests, a miniature training included (installs torch)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval,dev,recipe,gemma "$(GPU)"
	@$(BIN)/python -m pytest tests/recipe -m "not real" $(PYTEST)

lint: $(READY_DEV) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY_DEV) setup-weights ## measure speed and memory; results in benchmarks/RESULTS.md
	@LLAMA_SERVER="$(LLAMA_SERVER)" LLAMA_BATCHED_BENCH="$(LLAMA_BATCHED_BENCH)" \
	    $(BIN)/python benchmarks/run.py

report: $(READY) ## write a run's reports again: make report RUN=reports/tiny/...
	@$(BIN)/harness report $(or $(RUN),$(error say which run: make report RUN=reports/<experiment>/<run>))

gate: $(READY) ## did a template edit make answers worse? BASELINE=FILE (UPDATE=1 writes it)
	@$(BIN)/harness gate $(or $(EXPERIMENT),gate) \
	    --baseline "$(or $(BASELINE),experiments/gate.baseline.jsonl)" $(if $(UPDATE),--update)

example: $(READY_DEV) ## write reports/example and the README's pictures again (needs Chromium)
	@$(BIN)/harness run tiny -q -o reports/example
	@rm -f reports/example/samples.jsonl reports/example/scores.csv
	@$(BIN)/python scripts/screenshots.py reports/example

levels: $(READY) ## how far may a model be quantized? MODEL=FILE (LIMIT=, NGL=)
	@$(BIN)/harness levels "$(or $(MODEL),$(error say which model: make levels MODEL=model-F16.gguf))" \
	    $(if $(LIMIT),--limit "$(LIMIT)") $(if $(NGL),--ngl "$(NGL)") $(if $(OUT),-o "$(OUT)")

view: $(READY) ## open a run's page in the browser (RUN=, default: the latest)
	@$(BIN)/harness view $(or $(RUN),latest)

setup-weights: $(READY) ## fetch the development-only real weights into weights/
	@$(BIN)/python scripts/setup_weights.py

family: $(NEEDS) ## train the bundled tiny family again (about 90 minutes on 2 cores)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval,dev,recipe "$(GPU)"
	@$(BIN)/python -m recipe

EVIDENCE = $(BIN)/harness run recipe/gemma/evidence.yaml $(if $(STRATEGIES),--strategies "$(STRATEGIES)") \
    $(if $(LIMIT),--limit "$(LIMIT)")

evidence: $(NEEDS) setup-weights ## the pair on real weights: train its instruct half, measure it (IFEVAL=, LIMIT=)
	@PYTHON="$(PYTHON)" scripts/setup.sh ifeval,dev,gemma "$(GPU)"
	@$(BIN)/python -m recipe.gemma
	@$(EVIDENCE) -o $(or $(OUT),reports/evidence)/starter
	@$(if $(IFEVAL),$(EVIDENCE) --suite "$(IFEVAL)" -o $(or $(OUT),reports/evidence)/ifeval)

clean: ## remove what make made (not the answer cache: harness cache clean)
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
