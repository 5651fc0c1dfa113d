// Runs side by side, locked to one step and one word.

import type { Initialize, Render } from "@anywidget/types";
import { h, vary, write } from "./lib/dom";
import { imageAt, isSpecial, occurrences, sameWord } from "./lib/heat";
import { keepKeys } from "./lib/keys";
import { type Column, type Model, type Traces, traces } from "./lib/traces";
import type { ImageHeader, Panel, View, What } from "./lib/view";
import { level } from "./lib/words";
import { controls, heatOverlay, promptParts, shownWord, unrecordedWords } from "./panels/attention";
import { chips, type Part, specialParts } from "./panels/chips";
import { difference } from "./panels/difference";
import { screen } from "./panels/screen";
import { stepWords, transport } from "./panels/transport";
import { viewChoice } from "./panels/views";
import "./compare.css";

interface Said {
  words: string;
  always: boolean; // shown even if it is the same in all runs
}

/** The settings of a run, in plain words. */
function settings(column: Column): Said[] {
  const { header } = column.reel;
  if (header === undefined) return [];
  const picture = imageHeader(column);
  const { width, height } = header;
  return [
    { words: picture?.negative_prompt ? `without ${picture.negative_prompt}` : "", always: true },
    { words: picture ? `seed ${picture.seed}` : "", always: true },
    { words: `guidance ${Number(header.guidance_scale.toFixed(2))}`, always: true },
    { words: header.sampler, always: true },
    { words: `${header.steps} steps`, always: true },
    { words: header.schedule && `schedule ${header.schedule}`, always: false },
    { words: `${width} × ${height}`, always: false },
    { words: header.task, always: false },
    { words: header.model, always: true },
  ];
}

/** The whole prompt as its words and the text between and after them. */
function written(picture: ImageHeader | undefined): { text: string; word?: string }[] {
  const letters = [...(picture?.prompt ?? "")]; // code points, as Python counts
  const words = picture?.words ?? [];
  const parts = words.flatMap(({ text, start, end }, i) => [
    { text: letters.slice(words[i - 1]?.end ?? 0, start).join("") },
    { text: letters.slice(start, end).join(""), word: text },
  ]);
  return [...parts, { text: letters.slice(words.at(-1)?.end ?? 0).join("") }];
}

/** The prompt and the settings, with the differences between runs in bold. */
function caption(column: Column, all: readonly Column[]): (Node | string)[] {
  const others = all.map(settings);
  const words = settings(column).flatMap(({ words, always }, i) => {
    const same = others.every((one) => one[i]?.words === words);
    if (words === "" || (same && !always)) return [];
    return [same ? h("span", {}, words) : h("strong", {}, words)];
  });
  const prompts = all.map(imageHeader);
  const parts = written(imageHeader(column)).map(({ text, word }) => {
    const everywhere =
      word === undefined || prompts.every((one) => one && occurrences(one, word).length > 0);
    return everywhere ? text : h("strong", {}, text);
  });
  return [
    h("p", { class: "sdw-c-prompt", dir: "auto" }, ...parts),
    h("p", "sdw-c-settings", ...words),
  ];
}

function imageHeader(column: Column) {
  const { header } = column.reel;
  return header?.pictures[imageAt(header, column.selection.picture)];
}

/** The words of the first prompt, then the other prompts' further words. */
function allWords(columns: readonly Column[]): Part[] {
  const parts = promptParts(columns[0] && imageHeader(columns[0]));
  for (const column of columns.slice(1)) {
    for (const { text } of imageHeader(column)?.words ?? []) {
      const known = parts.some(({ word }) => word !== undefined && sameWord(word, text));
      if (!known) parts.push({ text, word: text });
    }
  }
  return parts;
}

/** One run: its image with the heat map over it, its step and its settings. */
function figure(column: Column, all: Traces): Panel {
  const stage = screen(column, { over: heatOverlay(column) });
  const where = h("span", {});
  const note = h("span", "sdw-c-note");
  const about = h("div", "sdw-c-about");
  const element = h(
    "figure",
    "sdw-c-run",
    stage.element,
    h("figcaption", {}, h("p", "sdw-c-where", where, note), about),
  );
  let said = "";
  const update = (what: What) => {
    stage.update(what);
    const { reel, selection } = column;
    const word = shownWord(column);
    const picture = imageHeader(column);
    const absent =
      word !== "" && !isSpecial(word) && picture && occurrences(picture, word).length === 0;
    element.dataset.absent = String(Boolean(absent));
    const unrecorded = word !== "" && reel.header?.layers.length === 0;
    const why = unrecorded ? "attention not recorded" : stage.note;
    write(note, absent ? `no “${word}” here` : why);
    if (what === "hover") return;
    const frame = reel.at(selection.step);
    element.dataset.step = String(frame?.index ?? -1);
    write(where, frame ? `${stepWords(frame, reel.header)} · σ ${level(frame.sigma)}` : "");
    const now = JSON.stringify(all.columns.map((one) => [settings(one), imageHeader(one)?.prompt]));
    if (now !== said) about.replaceChildren(...caption(column, all.columns));
    said = now;
    element.setAttribute("aria-label", column.label);
  };
  return { element, update, remove: () => stage.remove?.() };
}

/** The buttons for what all images show. */
function looks(view: View): Panel {
  const views = viewChoice("What the images show", (value) =>
    view.select(value === "picture" ? { view: value, step: -1 } : { view: value }),
  );
  return {
    element: views.element,
    update(what) {
      if (what !== "hover") views.show(view.selection.view);
    },
  };
}

/** Draws all runs into the root; returns the cleanup. */
export function show(root: HTMLElement, all: Traces): () => void {
  root.classList.add("sdw", "sdw-compare");
  const words = chips(all, "Words of the prompts");
  const special = chips(all, "Tokens that stand for no word");
  const how = controls(all);
  const shared = looks(all);
  const unrecorded = unrecordedWords();
  const runs = h("div", "sdw-c-runs");
  const below = h("div", "sdw-c-below");
  let panels: Panel[] = [];
  let moving: Panel | undefined;
  let drawn = -1; // the number of columns drawn

  root.replaceChildren(
    h("div", "sdw-c-bar", shared.element),
    runs,
    below,
    h(
      "div",
      "sdw-c-words",
      h("div", "sdw-attention-header", h("p", "sdw-title", "words"), special.element),
      words.element,
      h("div", "sdw-attention-controls", ...how.elements),
      unrecorded,
    ),
  );

  const clear = () => {
    for (const panel of panels) panel.remove?.();
    panels = [];
  };
  /** Rebuilds the panels if the number of runs changed. */
  const build = () => {
    if (drawn === all.columns.length) return;
    drawn = all.columns.length;
    clear();
    const figures = all.columns.map((column) => figure(column, all));
    const [first, second] = all.columns;
    const two = first && second && drawn === 2 ? [difference(first, second)] : [];
    moving = transport(all);
    runs.replaceChildren(...[...figures, ...two].map(({ element }) => element));
    vary(root, "columns", [0, 1, 3, 3, 4, 5, 3][drawn] ?? 3);
    below.replaceChildren(moving.element);
    panels = [...figures, ...two, moving];
  };

  const update = (what: What) => {
    build();
    for (const panel of [shared, ...panels]) panel.update(what);
    if (what !== "hover") {
      words.fill(allWords(all.columns));
      special.fill(specialParts());
      how.update();
      const recorded = all.columns.some(({ reel }) => reel.header?.layers.length !== 0);
      root.dataset.recorded = String(recorded);
      const { lead, selection } = all;
      root.dataset.step = String(lead.reel.at(selection.step)?.index ?? -1);
      root.dataset.runs = String(all.columns.length);
      root.dataset.frames = all.columns.map(({ reel }) => reel.frames.length).join(" ");
    }
    words.mark();
    special.mark();
  };
  update("data");
  const undo = [all.onChange(update), keepKeys(root), clear];
  return () => {
    for (const each of undo) each();
  };
}

const initialize: Initialize<Model> = ({ model }) => {
  traces.of(model);
  return () => traces.forget(model);
};

const render: Render<Model> = ({ model, el }) => show(el, traces.of(model));

export default { initialize, render };
