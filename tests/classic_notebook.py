"""A notebook open in nbclassic: RequireJS and ipywidgets 7's own manager, as in Google Colab."""

from __future__ import annotations

from typing import Any

from real_jupyter import START, Notebook


class ClassicNotebook(Notebook):
    """What `Notebook` does, through the page's ``Jupyter.notebook``."""

    def load(self) -> None:
        # The manager asks a new kernel for its widgets. Those that are made meanwhile, it removes.
        asked = "Failed to fetch ipywidgets"  # what it says of a kernel without any
        with self.page.expect_console_message(
            lambda message: asked in message.text, timeout=START * 1000
        ):
            self.page.goto(self._server.address(self._name), timeout=START * 1000)
            self.wait_for_kernel()
        for _ in range(2):  # then it asks again, in another way
            self._answer("1")

    def wait_for_kernel(self) -> None:
        ready = """() => {
            const notebook = window.Jupyter?.notebook;
            return notebook?._fully_loaded && notebook.kernel?.is_connected()
                && notebook.kernel.widget_manager;
        }"""
        self.page.wait_for_function(ready, timeout=START * 1000)

    def save(self) -> None:
        """Save it with its outputs and, by the menu Widgets, the state of its widgets."""
        self.page.evaluate("""async () => {
            const title = 'Save Notebook Widget State';
            const item = [...document.querySelectorAll('a')].find((a) => a.textContent === title);
            const saved = new Promise((done) =>
                Jupyter.notebook.events.one('notebook_saved.Notebook', done));
            item.click();
            await saved;
        }""")

    def shut_down(self) -> None:
        self.page.evaluate("""() => new Promise((done, fail) =>
            Jupyter.notebook.session.delete(done, fail))""")

    def start(self) -> None:
        self.page.evaluate("() => { Jupyter.notebook.execute_all_cells(); }")

    def wait_for_cells(self) -> None:
        """Wait until all cells have run."""
        self.page.wait_for_function("""() => Jupyter.notebook.get_cells().every((cell) =>
            cell.input_prompt_number > 0 && !cell.element.hasClass('running'))""")

    def run(self) -> None:
        self.start()
        self.wait_for_cells()
        self.check_outputs()

    @property
    def cells(self) -> list[dict[str, Any]]:
        return self.page.evaluate("() => Jupyter.notebook.toJSON().cells")

    def _answer(self, expression: str) -> Any:
        return self.page.evaluate(
            """(text) => new Promise((done) => Jupyter.notebook.kernel.execute(
                '',
                {shell: {reply: ({content}) => done(content.user_expressions.it)}},
                {silent: true, user_expressions: {it: text}},
            ))""",
            expression,
        )
