"""`Trace`: the record of a run with all that can be done with it as methods.

Reading and showing a record needs no torch and no model; asking it something new (`Trace.query`,
`Trace.ablate`) needs both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..settings import AttentionSettings
from . import file, recording
from .animation import animation
from .branching import Branch
from .control_map import control_map
from .editing import Edit
from .heat import heat_map
from .page import export_html
from .png import png, save_png, settings_record
from .recipe import DEFAULT, Recipe
from .record import Record, StepNumbers
from .recording import Recordable
from .sheet import contact_sheet
from .tokens import Span

if TYPE_CHECKING:
    from ..diffusion.samplers import Step
    from .questions import Ablation, Askable


@dataclass(frozen=True, eq=False)
class Trace(Record):
    """The record of one run. Arrays may be shared with the run: do not write into them."""

    @classmethod
    def of(cls, steps: Iterable[Step], run: Recordable | None = None) -> Trace:
        """The record of a run: takes all steps that are left of it, then decodes the last.

        ``Trace.of(model.sample(...))``, or of a progress bar around it; or ``Trace.of(steps, run)``
        with steps already taken from the run, perhaps not all of them. If the run's last step is
        not among them, the images are those of the last one's clean latents. Of a run whose steps
        were all taken elsewhere, only the last is recorded.
        """
        return recording.finished(cls, steps, run)

    @classmethod
    def begun(cls, run: Recordable) -> Trace:
        """The record of a run before its first step: what was asked."""
        return recording.begun(cls, run)

    # ----------------------------------------------------------------------- where words look

    def heat_map(
        self,
        word: str | int | Span,
        step: StepNumbers = None,
        layer: str | int | None = None,
        *,
        resolution: int | None = None,
        head: int | None = None,
        occurrence: int | None = None,
        against: str | None = None,
        scale: str = "raw",
        uncond: bool = False,
        picture: int = 0,
        recipe: Recipe = DEFAULT,
    ) -> np.ndarray:
        """[H, W] float32 at the image's size: how much each place took from the word.

        The mean over the word's tokens, of all its occurrences, over heads, and over the steps and
        layers that ``recipe`` names: `recipe.DEFAULT`, which found the objects of known scenes
        best, or `recipe.DAAM`, all of them. These arguments choose instead of the recipe:

        - ``step``: one or several, each a `TraceStep.index`, or -1 for the last that is kept, and
          so on.
        - ``layer``: its name, its number, or the label that the viewers show ("up 4").
        - ``resolution``: the longer side of the maps in cells.
        - ``head``: its number, where heads were kept apart.

        ``word``: a text, its number among the prompt's words, or a (start, end) of characters;
        "<start>", "<end>" and "<padding>" are the tokens that stand for no word. ``occurrence``:
        one of several. ``uncond``: look in the negative prompt's half, for its words. ``picture``:
        the image's index in the batch.

        ``against``: with "none", values are attention: each cell's sum over all tokens is 1. With
        "words", they are the share among the prompt's words, 0 to 1: that of all the word's
        occurrences together, so that the shares of different words sum to 1. None leaves it to the
        recipe, but for "<start>" and the like, which have no share. ``scale``: "raw" returns these
        values, "picture" stretches them from 0 at the least to 1 at the greatest.

        Raises InputError when nothing was recorded (``generate(..., attention=True)`` records),
        or for a word, step, layer, head or image that is not there.
        """
        return heat_map(
            self,
            word,
            step,
            layer,
            resolution=resolution,
            head=head,
            occurrence=occurrence,
            against=against,
            scale=scale,
            uncond=uncond,
            picture=picture,
            recipe=recipe,
        )

    def control_map(
        self,
        level: str | int | None = None,
        step: StepNumbers = None,
        *,
        control: int = 0,
        scale: str = "raw",
        picture: int = 0,
    ) -> np.ndarray:
        """[H, W] float32 at the image's size: how much a control added at each place.

        The mean magnitude, over channels, of what its ControlNet adds to the skips of a level of
        the network, divided by that of the skips themselves: 0 is nothing, 1 as much as was there.
        Steps in which it did not act count as 0.

        ``level``: its label ("down 1" is the finest, "mid" the middle), name or number; None is the
        mean of all. ``step``: as in `heat_map`; None is the mean of all steps. ``control``: which
        one, in the order given. ``scale``: as in `heat_map`. ``picture``: the image's index in the
        batch. Raises InputError for a run without controls, or for what is not there.
        """
        return control_map(self, level, step, control=control, scale=scale, picture=picture)

    def query(
        self,
        word: str,
        *,
        prompt: str | None = None,
        step: StepNumbers = None,
        picture: int = 0,
        model: Askable | None = None,
    ) -> np.ndarray:
        """[H, W] float32, 0 to 1: where a word would have looked that was never in the prompt.

        The queries of the run against the keys of another text (OVAM, Marcos-Manchón et al., arXiv
        2403.14291, section 3): ``prompt``, which must contain the word, or else the run's own with
        the word behind it. ``step`` and ``picture`` as in `heat_map`. Needs ``generate(...,
        attention=AttentionSettings(queries=True))`` and the model: that of the run while it is
        loaded, else ``model``. Raises InputError.
        """
        from .questions import query

        return query(self, word, prompt=prompt, step=step, picture=picture, model=model)

    def ablate(
        self,
        word: str,
        replacement: str = "",
        *,
        picture: int = 0,
        model: Askable | None = None,
    ) -> Ablation:
        """The same run without a word, or with another in its place, and what that changed.

        Attention tells where the network looked; this tells what the word did. The image is made
        again from the same noise. The result has the change as a map and, where attention was
        recorded, its correlation with the word's heat map. ``model`` as in `query`. Raises
        InputError.
        """
        from .questions import ablate

        return ablate(self, word, replacement, picture=picture, model=model)

    def edit(
        self,
        word: str | None = None,
        replacement: str = "",
        *,
        prompt: str | None = None,
        weights: Mapping[str, float] | None = None,
        cross_attention: float = 0.8,
        self_attention: float = 0.4,
        resolution: int | None = None,
        blend: bool | str | Sequence[str] = False,
        threshold: float = 0.3,
        picture: int = 0,
        control: Any = None,
        refiner: Any = None,
        model: Askable | None = None,
    ) -> Trace:
        """The record of the same image with another prompt: what is where stays, as far as it can.

        Prompt-to-prompt (Hertz et al., arXiv 2208.01626). The run and its edit are made side by
        side from the same noise, and the edit uses the run's attention. So only the run's settings
        are needed, and what it was given; its steps need not be kept.

            trace.edit("cat", "dog")                     # a word or phrase, wherever it is
            trace.edit(prompt="a fluffy cat on a boat")  # words added, taken away, replaced
            trace.edit(weights={"fluffy": 2})            # more or less of a word

        ``word``, ``replacement``: as in `ablate`. ``prompt``: a whole prompt; words in both are the
        longest common subsequence, and what is between two of them replaces what was there.
        ``weights``: factors, -100 to 100, of the attention to words of the edited prompt, in all
        steps.

        ``cross_attention``, ``self_attention``: the share of the steps, from the first, in which
        the edit uses the run's attention to words, and of cells to one another: more keeps the
        layout more closely. The latter only in layers of at most ``resolution`` x ``resolution``
        cells; None is 16, or a quarter of the latents' longer side if that is more.

        ``blend``: keep the run's image outside the places where the words that change look, or
        where the given words look. These are the cells where a word's share of the attention to
        words is more than ``threshold``, 0 to 1, of its greatest.

        ``picture``: the image's index in the batch. ``control``, ``refiner``: as in
        `LatentDiffusion.sample`, those that the run had; its controls while they are loaded, if
        None. A refiner's steps are not edited. ``model`` as in `query`. Attention is recorded if it
        was in the run. Raises InputError, and what a run raises.
        """
        edit = self.editing(
            word,
            replacement,
            prompt=prompt,
            weights=weights,
            cross_attention=cross_attention,
            self_attention=self_attention,
            resolution=resolution,
            blend=blend,
            threshold=threshold,
            picture=picture,
            control=control,
            refiner=refiner,
        )
        run = edit.run(model)
        return type(self).of(run, run)

    def editing(self, word: str | None = None, replacement: str = "", **how: Any) -> Edit:
        """What `edit` would make, as plain data, before anything is made.

        Takes the arguments of `edit`, without ``model``. ``.run(model)`` is its run, for a loop or
        a `Viewer` to watch; ``Request(model, editing.settings, edit=editing)`` is for a
        `ModelManager`. Raises InputError.
        """
        return Edit.of(self, word, replacement, **how)

    # ------------------------------------------------------------------------- another way on

    def branch(
        self,
        step: int,
        *,
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        guidance_scale: float | None = None,
        guidance_rescale: float | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        schedule: str | None = None,
        sigmas: Sequence[float] | None = None,
        seed: int | Sequence[int] | None = None,
        control: Any = None,
        weights: str | None = None,
        clip_skip: int | None = None,
        chunks: int | None = None,
        image_guidance_scale: float | None = None,
        attention: bool | AttentionSettings | None = None,
        picture: int | None = None,
        exact: bool = False,
        model: Askable | None = None,
        **others: Any,
    ) -> Trace:
        """The record of a run that goes on from before ``step`` of this one, otherwise than it did.

        Only the steps that are left cost anything: the first ``step`` steps are this record's own.
        The new record has them all, and its ``parent`` is this run. What is None stays as it was;
        with nothing changed, the image is the same to the bit.

            trace.branch(12, prompt="a cat in the snow")   # from before step 12, counted from 0
            trace.branch(-5, guidance_scale=3.0)           # the last five steps
            trace.branch(8, sampler="euler", steps=40)     # more of them from there on
            trace.branch(8, sampler="euler_ancestral", seed=3)

        ``step``: a `TraceStep.index`; negative numbers count back from the end, and 0 is the start.
        Of a run that was stopped, it may be the step that was to come next.

        ``steps``, ``schedule``, ``sigmas``: another grid of noise levels, of which those below the
        level reached are visited. ``sampler``: with its own defaults for its options, which are
        among ``others``, such as ``eta``. ``seed``: that of the noise that a stochastic sampler
        adds from here on; None goes on with the run's. ``control``: as in
        `LatentDiffusion.sample`; () for none. ``attention``: None records what the run recorded.
        ``picture``: only this image of a batch. ``others``: options of samplers, what only some
        models are told, ``window`` and ``end_step``. How the run began (size, batch, seed of the
        first noise, images) cannot change.

        Where the prompt, guidance or controls change, a sampler that looks back begins anew: what
        the network said before is no longer on its way. A changed sampler looks back at all steps.

        ``exact``: make the first steps again, at their cost. A record that was read from a file has
        latents of 16 bits, and only this way is its branch that of the run itself. ``model``: as in
        `query`. Raises InputError (for steps that the record does not keep, with those that it
        keeps), and what `LatentDiffusion.sample` raises.
        """
        branch = self.branching(
            step,
            prompt=prompt,
            negative_prompt=negative_prompt,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            sampler=sampler,
            steps=steps,
            schedule=schedule,
            sigmas=sigmas,
            seed=seed,
            control=control,
            weights=weights,
            clip_skip=clip_skip,
            chunks=chunks,
            image_guidance_scale=image_guidance_scale,
            attention=attention,
            picture=picture,
            exact=exact,
            **others,
        )
        run = branch.run(model)
        return type(self).of(run, run)

    def branching(self, step: int, **changes: Any) -> Branch:
        """What `branch` would make, as plain data, before anything is made.

        Takes the arguments of `branch`, without ``model``. ``.run(model)`` is the `Run`, for a loop
        or a `Viewer` to watch; ``Request(model, branching.settings, branch=branching)`` is for a
        `ModelManager`. Raises InputError.
        """
        return Branch.of(self, step, **changes)

    @property
    def latents_left(self) -> np.ndarray:
        """[B, C, h, w] float64: the latents after the last step, with the noise that is left.

        As the network sees them, of unit variance, at the level ``steps[-1].sigma_next``.
        ``model.sample(..., latents=trace.latents_left, start_step=k)`` goes on from them, where
        this run had ``end_step=k``; also another model, such as a refiner. Raises InputError for a
        record without steps.
        """
        if not self.steps:
            raise InputError("This record has no steps, so it has no latents to go on from.")
        sigma, values = self.steps[-1].sigma_next, self.steps[-1].x_next.astype(np.float64)
        return values * (1 / (1 + sigma if self.prediction == "flow" else (1 + sigma**2) ** 0.5))

    # ------------------------------------------------------------------------------ to files

    def record(self, picture: int = 0) -> dict[str, Any]:
        """What is written into an image's file: model, versions and the settings of that image.

        Where there is something to say, also: the model's ``sources``, each as
        `sources.Source.as_dict`, with SHA-256 unless gigabytes would have to be read for it; its
        ``prediction`` and ``prediction_source``; what else was ``given`` ("image", "mask",
        "latents"); ``complete``, False if the run was stopped; the words that were ``cut``, which
        the network never saw; ``notices``.

        ``Settings(**record["settings"])``, with what was given, makes that image again, alone.
        Raises InputError for an image that is not there.
        """
        return settings_record(self, picture)

    def png(self, picture: int = 0) -> bytes:
        """The bytes of a PNG with its settings inside (see `read_settings`).

        Raises InputError for an image that is not there.
        """
        return png(self, picture)

    def save_image(self, path: str | os.PathLike[str], picture: int = 0) -> Path:
        """Write that PNG, whole or not at all; return its path.

        Raises InputError for a name with the ending of another format.
        """
        return save_png(self, path, picture)

    def save(self, path: str | os.PathLike[str], *, precision: str = "8-bit") -> Path:
        """Write the whole record into one file, whole or not at all; see `file.save`."""
        return file.save(self, path, precision=precision)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a record back, with neither torch nor the model; see `file.load`."""
        return file.load(path, cls)

    def export_html(self, path: str | os.PathLike[str]) -> Path:
        """Write one page that plays the run in any browser, with no server and no network."""
        return export_html(self, path)

    def animation(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the run as an animation: .webp, .gif or .mp4; see `animation.animation`."""
        return animation(self, path, **options)

    def contact_sheet(self, **options: Any) -> Any:
        """A matplotlib figure of steps x views, for papers; see `sheet.contact_sheet`."""
        return contact_sheet(self, **options)

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.images else None
