# make demo    makes the environment and executes the lessons into out/demo (at a terminal, the first, and opens it)
# make test    makes the environment, installs what the tests need, and runs lint, types, unit, parity and browser tests
# make quick   runs lint, types and the fast unit tests, in under two minutes: between two edits
# All can be run again at any time. With another Python: make PYTHON=python3.12 test

PYTHON ?= python3

.PHONY: demo test quick clean
demo test quick:
	@$(PYTHON) dev.py $@ $(ARGS)

clean:
	rm -rf .venv .venv-colab .venv-oldest .venv-oldest-lab js/node_modules js/lab/node_modules js/built.json sdwidgets/widgets/static sdwidgets/labextension out build dist
