# make demo    environment, install, the lessons executed into out/demo (and JupyterLab, at a terminal)
# make test    environment, everything the tests need, lint, types, unit, parity and browser tests
# make quick   lint, types and the tests that take under two minutes together: between two edits
# All can be run again at any time; another Python: make PYTHON=python3.12 test

PYTHON ?= python3

.PHONY: demo test quick clean
demo test quick:
	@$(PYTHON) dev.py $@ $(ARGS)

clean:
	rm -rf .venv .venv-oldest js/node_modules sdwidgets/widgets/static out build dist
