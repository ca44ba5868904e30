# Every target goes through scripts/setup.py, which needs nothing but Python 3.11 or later and also runs on
# Windows (py scripts/setup.py run). The variable PYTHON chooses another interpreter for the virtual environment,
# TORCH_INDEX names an extra package index for torch, ARGS is passed on.
PYTHON ?= python3
ARGS ?=

.PHONY: run test bench conformance setup clean

run:
	@$(PYTHON) scripts/setup.py run $(ARGS)

test:
	@$(PYTHON) scripts/setup.py test $(ARGS)

bench:
	@$(PYTHON) scripts/setup.py bench $(ARGS)

conformance:
	@$(PYTHON) scripts/setup.py conformance $(ARGS)

setup:
	@$(PYTHON) scripts/setup.py setup

clean:
	@$(PYTHON) scripts/setup.py clean
