"""The Studio's list of LoRAs: a row for each, with its file and its strengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets

from ..errors import InputError
from ..folders import last_part
from ..loras import MOST, Lora, loras_of
from . import kernel


class Loras(kernel.AnyTrait):
    """LoRAs as a tuple of `loras.Lora`; set from paths, (path, strength) and so on."""

    def validate(self, obj: Any, value: Any) -> Any:
        return loras_of(value)


class LoraRow:
    """A LoRA: whether it is used, its file, its strengths, and what is wrong with it.

    ``box`` is its widget, with all of its fields.
    """

    def __init__(self, changed: Callable[[], object], remove: Callable[[LoraRow], object]):
        w = ipywidgets
        self.use = w.Checkbox(value=True, description="use", indent=False)
        self.path = w.Text(
            description="LoRA",
            placeholder="a .safetensors file, or a folder",
            continuous_update=False,
        )
        self.strength = w.FloatText(value=1.0, description="strength", step=0.05)
        self.text_strength = w.FloatText(value=1.0, description="text strength", step=0.05)
        self.more = w.ToggleButton(
            description="More", tooltip="Another strength for the text encoders"
        )
        self.away = w.Button(description="Remove", tooltip="Remove this LoRA from the list")
        self.problem = w.Label("")
        fields = ("use", "path", "strength", "text_strength", "more", "away", "problem")
        for name in fields:
            getattr(self, name).add_class(f"sdw-lora-{name.replace('_', '-')}")
        self.problem.add_class("mathjax_ignore")  # a name's dollars are dollars
        line = w.HBox([getattr(self, name) for name in fields[:-1]])
        line.add_class("sdw-row")
        self.box = w.VBox([line, self.problem])
        self.box.add_class("sdw-lora")
        self.parts = (*(getattr(self, name) for name in fields), line, self.box)
        kernel.unpin(*self.parts)
        self._fold()
        for field in (self.use, self.path, self.strength, self.text_strength, self.more):
            field.observe(lambda _: changed(), "value")
        self.more.observe(lambda _: self._fold(), "value")
        self.strength.observe(self._follow, "value")
        self.away.on_click(lambda _: remove(self))

    def _fold(self) -> None:
        """Show the strength of text encoders, or let it be that of the network."""
        if self.more.value:
            self.text_strength.remove_class("sdw-folded")
        else:
            self.text_strength.add_class("sdw-folded")
            self.text_strength.value = self.strength.value

    def _follow(self, change: Any) -> None:
        if not self.more.value:
            self.text_strength.value = change.new

    def fill(self, lora: Lora) -> None:
        """Show a LoRA."""
        self.path.value, self.strength.value = str(lora.path), lora.strength
        self.more.value = lora.different_text_strength is not None
        self.text_strength.value = lora.strengths[1]
        self.use.value = True

    def lora(self) -> Lora | None:
        """The LoRA that the row names; None if it is not used or has no file yet.

        Raises InputError for a strength out of range.
        """
        path = self.path.value.strip()
        if not self.use.value or not path:
            return None
        text = self.text_strength.value if self.more.value else None
        return Lora(Path(path), self.strength.value, None if text == self.strength.value else text)

    def end(self) -> None:
        """Close all of its widgets."""
        for part in self.parts:
            part.close()

    def say(self, problem: str) -> None:
        """Show what is wrong; "" removes that."""
        self.problem.value = problem
        (self.box.add_class if problem else self.box.remove_class)("sdw-lora-wrong")


class LoraList:
    """The rows, and a button that adds one; ``box`` is its widget.

    ``take`` gets the LoRAs that are in use.
    """

    def __init__(self, take: Callable[[tuple[Lora, ...]], object]):
        self._take = take
        self._filling = False
        self.rows: list[LoraRow] = []
        self.add = ipywidgets.Button(
            description="Add a LoRA",
            tooltip="A small file that changes the model's style or subject",
        )
        self.add.add_class("sdw-lora-add")
        self.add.on_click(lambda _: self._added())
        self.box = ipywidgets.VBox([self.add])
        self.box.add_class("sdw-loras")
        self.box.add_class("sdw-folded")
        self.is_open = False

    def unfold(self, is_open: bool) -> None:
        """Show the list; closed, it still shows if it has rows."""
        self.is_open = is_open
        shown = is_open or bool(self.rows)
        (self.box.remove_class if shown else self.box.add_class)("sdw-folded")

    def show(self, loras: tuple[Lora, ...]) -> None:
        """Show these LoRAs; rows that are not in use stay if the others are these already."""
        try:
            if tuple(filter(None, (row.lora() for row in self.rows))) == loras:
                return
        except InputError:
            pass  # a row's number is wrong: it is replaced
        self._filling = True
        try:
            for row in self.rows[len(loras) :]:
                self._drop(row)
            while len(self.rows) < len(loras):
                self.rows.append(LoraRow(self._changed, self._removed))
            for row, lora in zip(self.rows, loras, strict=True):
                row.fill(lora)
                row.say("")
        finally:
            self._filling = False
        self._placed()

    def mark(self, problem: str, lora: Path | None) -> None:
        """Show what is wrong with a LoRA at its row."""
        for row in self.rows:
            try:
                named = row.lora()
            except InputError:
                continue  # it says so already
            is_it = named is not None and named.path == lora
            row.say(problem.partition("\n")[0] if is_it else "")  # the status has all of it

    def end(self) -> None:
        """Close the rows."""
        for row in [*self.rows]:
            self._drop(row)

    def _added(self) -> None:
        if len(self.rows) < MOST:
            self.rows.append(LoraRow(self._changed, self._removed))
            self._placed()

    def _removed(self, row: LoraRow) -> None:
        if row in self.rows:
            self._drop(row)
            self._placed()
            self._changed()

    def _drop(self, row: LoraRow) -> None:
        self.rows.remove(row)
        self.box.children = [*(row.box for row in self.rows), self.add]
        row.end()

    def _placed(self) -> None:
        self.box.children = [*(row.box for row in self.rows), self.add]
        self.unfold(self.is_open)

    def _changed(self) -> None:
        """Take the LoRAs of all rows, unless one of them is wrong: then it says so."""
        if self._filling:
            return
        found, wrong = [], False
        for row in self.rows:
            try:
                lora = row.lora()
            except InputError as error:
                row.say(str(error).replace("\n", " "))
                wrong = True
                continue
            row.say("")
            found += [] if lora is None else [lora]
        if not wrong:
            self._take(tuple(found))

    @property
    def wrong(self) -> InputError | None:
        """The error about a strength that no LoRA can have; None if there is none."""
        for row in self.rows:
            try:
                row.lora()
            except InputError as error:
                return error
        return None


def shown(lora: Lora) -> str:
    """A LoRA in words, without its folders: "watercolour, strength 0.8"."""
    text = lora.different_text_strength
    more = "" if text is None else f" (text {text:g})"
    return f"{last_part(str(lora.path))} at {lora.strength:g}{more}"
