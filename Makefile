# make demo   environment, install, the lessons executed into out/demo (and JupyterLab, at a terminal)
# make test   environment, everything the tests need, lint, types, unit, parity and browser tests
# Both can be run again at any time; another Python: make PYTHON=python3.12 test

PYTHON ?= python3

.PHONY: demo test clean
demo test:
	@$(PYTHON) dev.py $@

clean:
	rm -rf .venv js/node_modules sdwidgets/widgets/static out build dist
