// A tree of runs: the image on show, the form of a branch or an edit, and the map of all runs.

import type { AnyModel, Render } from "@anywidget/types";
import { button } from "./lib/button";
import { addressOf, bytes } from "./lib/bytes";
import { Choices, quietly } from "./lib/choices";
import { type ASKS, BRANCHES, SAMPLERS, SCHEDULES, SETTINGS_LIMITS } from "./lib/contract";
import { choice } from "./lib/controls";
import { aria, h, on, svg, vary, write } from "./lib/dom";
import { opener } from "./lib/files";
import { LOST, onConnection } from "./lib/kernel";
import { isShortcut, keepKeys } from "./lib/keys";
import { clamp } from "./lib/numbers";
import { layout, nearest, type Row, thatFit } from "./lib/subway";
import "./branches.css";

type Value = string | number | null;
type Kind = (typeof ASKS)["branches"][number];
type Shown = (typeof BRANCHES)["views"][number];

/** A run of the tree; the kernel's `branch_map.entry`. */
interface Node {
  id: number;
  parent: number | null;
  how: string;
  step: number;
  steps: number;
  name: string;
  changes: string;
  cost: number;
  difference: number | null;
  prompt: string;
  seed: number | null;
  words: string[];
  settings: Record<string, Value>;
  kept: number[]; // the steps before which it can be branched
  edits: string; // why it cannot be edited, or ""
  row: string;
  draft: boolean;
}

/** The run that is being made. */
interface Forming {
  parent: number;
  step: number;
  how: string;
  draft: number | null;
  steps: number;
  done: number;
  at: number;
  thumbnail?: unknown;
  image?: unknown;
}

interface Images {
  image: unknown;
  difference: unknown;
  steps: number[];
  thumbnails: unknown[];
}

interface Model {
  uid: string;
  nodes: Node[];
  forming: Forming | Record<string, never>;
  undoable: number;
  state: string;
  message: string;
  wrong: string;
  selected: number;
  at: number;
  view: Shown;
}

const FORMING = -1; // the id of the run that is being made
const THUMB = 40; // pixels, with what is around it
const NARROW = 620;
const WEIGHTS = { min: 0, max: 3, step: 0.1 };

/** The fields of a branch: those that are always there, and those behind "More". */
const FIELDS: {
  name: string;
  label: string;
  kind: "text" | "number" | "choice";
  more?: boolean;
}[] = [
  { name: "prompt", label: "Words", kind: "text" },
  { name: "guidance_scale", label: "Guidance", kind: "number" },
  { name: "sampler", label: "Sampler", kind: "choice" },
  { name: "seed", label: "Seed of the rest", kind: "number" },
  { name: "negative_prompt", label: "Without", kind: "text", more: true },
  { name: "steps", label: "Steps of the whole", kind: "number", more: true },
  { name: "schedule", label: "Noise grid", kind: "choice", more: true },
  { name: "guidance_rescale", label: "Rescaled by", kind: "number", more: true },
  { name: "eta", label: "eta", kind: "number", more: true },
  { name: "s_noise", label: "s_noise", kind: "number", more: true },
  { name: "s_churn", label: "s_churn", kind: "number", more: true },
  { name: "clip_skip", label: "Clip skip", kind: "number", more: true },
  { name: "image_guidance_scale", label: "Image guidance", kind: "number", more: true },
  { name: "noise_level", label: "Noise level", kind: "number", more: true },
  { name: "aesthetic_score", label: "Score", kind: "number", more: true },
  { name: "negative_aesthetic_score", label: "Negative score", kind: "number", more: true },
];
const OF_SAMPLERS = ["eta", "s_noise", "s_churn"];
const OF_SOME_MODELS = [
  "image_guidance_scale",
  "noise_level",
  "aesthetic_score",
  "negative_aesthetic_score",
];
const GRID = ["steps", "schedule"];

const inWords = (count: number) => (count === 1 ? "1 step" : `${count} steps`);
const titleOf = (node: Node) => node.name || node.changes || node.prompt || "no prompt";

const render: Render<Model> = ({ model, el }) => {
  const choices = new Choices<Pick<Model, "selected" | "at" | "view">>(model as AnyModel);
  let lost = false;
  let said = ""; // by the page itself, until the kernel says something
  const ask = (kind: Kind, more: object = {}, data: ArrayBuffer[] = []) => {
    said = lost ? LOST : "";
    if (lost) showMessage();
    else quietly(() => model.send({ kind, ...more }, undefined, data));
  };

  // ------------------------------------------------------------------------------ what is known

  const nodes = () => model.get("nodes") ?? [];
  const nodeOf = (id: number | null) => nodes().find((node) => node.id === id);
  const selected = () => nodeOf(model.get("selected")) ?? nodes()[0];
  const forming = () => {
    const now = model.get("forming");
    return "parent" in now ? (now as Forming) : undefined;
  };
  const goesOn = () => ["loading", "running"].includes(model.get("state"));
  const imagesOf = (node: Node) => (model as AnyModel).get(node.row) as Images | undefined;
  /** The nearest step before which the run can be branched; -1 if there is none. */
  const place = () => {
    const node = selected();
    const at = model.get("at");
    if (!node || at < 0 || node.kept.length === 0) return -1;
    return nearest(node.kept, at);
  };
  const choose = (change: Partial<Pick<Model, "selected" | "at" | "view">>) => {
    choices.set(change);
    choices.send();
  };

  // Addresses of images, each made once while its bytes are the same.
  const known = new Map<string, { data: unknown; url: string }>();
  const url = (key: string, data: unknown, type = "image/jpeg") => {
    const before = known.get(key);
    if (before !== undefined && before.data === data) return before.url;
    if (before) URL.revokeObjectURL(before.url);
    const made = addressOf(data, type);
    known.set(key, { data, url: made });
    return made;
  };
  const hasBytes = (data: unknown) => bytes(data).length > 0;

  // ---------------------------------------------------------------------------------- the image

  const image = h("img", { class: "sdw-b-image", alt: "" });
  const absent = h("p", { class: "sdw-b-absent" });
  const caption = h("figcaption", { class: "sdw-b-caption" });
  const progress = h("progress", { class: "sdw-progress", "aria-label": "Steps of the new run" });
  const stop = button("Stop", "Stop the run within a step", () => ask("stop"));
  const stage = h(
    "figure",
    "sdw-b-stage",
    h("div", "sdw-b-frame", image, absent),
    h("div", "sdw-b-going", progress, stop),
    caption,
  );

  /** The run among a node and those above it that made a step itself, and the step's thumbnail. */
  const madeAt = (node: Node, step: number): { node: Node; index: number } | undefined => {
    if (step < node.step && node.how === "branch") {
      const above = nodeOf(node.parent);
      return above && madeAt(above, step);
    }
    const steps = imagesOf(node)?.steps ?? [];
    return steps.length > 0 ? { node, index: steps.indexOf(nearest(steps, step)) } : undefined;
  };

  const showImage = () => {
    const node = selected();
    const making = forming();
    stage.toggleAttribute("data-going", goesOn());
    if (making) {
      progress.max = Math.max(making.steps - making.step, 1);
      if (making.done > making.step) progress.value = making.done - making.step;
      else progress.removeAttribute("value");
    }
    if (making && hasBytes(making.image)) {
      picture(url("forming", making.image), "the image as it forms");
      write(caption, `Step ${making.done} of ${making.steps}`);
      return;
    }
    if (!node) return;
    const images = imagesOf(node);
    const at = model.get("at");
    if (model.get("view") === "difference" && node.parent !== null) {
      const there = hasBytes(images?.difference);
      const far = node.difference === null ? "" : ` ${(node.difference * 100).toFixed(1)} %`;
      if (there) picture(url(`${node.id} change`, images?.difference, "image/png"), "");
      else picture("", "", "These two images differ in size.");
      image.alt = "where the image differs from its parent's, brighter is more";
      write(caption, `Difference to the parent:${far}; brighter is more`);
      return;
    }
    const found = at < 0 ? undefined : madeAt(node, at);
    const small = found && imagesOf(found.node)?.thumbnails[found.index];
    if (found && hasBytes(small)) {
      const step = imagesOf(found.node)?.steps[found.index] ?? at;
      picture(url(`${found.node.id} ${step}`, small), `the image at step ${step + 1}`);
      write(caption, `Step ${step + 1} of ${node.steps}, as the run saw it`);
      return;
    }
    if (hasBytes(images?.image)) {
      picture(url(`${node.id} image`, images?.image), `the image: ${node.prompt}`);
    } else picture("", "", "This run has no image.");
    write(caption, titleOf(node));
  };
  const picture = (src: string, alt: string, instead = "") => {
    image.hidden = src === "";
    if (image.getAttribute("src") !== src) image.src = src;
    image.alt = alt;
    write(absent, instead);
  };

  // ----------------------------------------------------------------------------------- the form

  let mode: "branch" | "edit" = "branch";
  const modes = choice(
    "What to make",
    [
      {
        value: "branch",
        label: ["Branch"],
        title: "Go on from a step, otherwise than the run did",
      },
      {
        value: "edit",
        label: ["Edit words"],
        title: "The same image with other words: what is where stays, as far as it can",
      },
    ],
    (value: "branch" | "edit") => {
      mode = value;
      showForm();
    },
  );
  const name = h("input", {
    type: "text",
    class: "sdw-b-name",
    "aria-label": "Name of this run",
    maxlength: BRANCHES.name,
  });
  on(name, "change", () => ask("rename", { node: selected()?.id, name: name.value }));

  const where = h("input", { type: "number", min: 0, step: 1 });
  const whereRow = h("label", "sdw-b-field", h("span", {}, "Before step"), where);
  on(where, "change", () => {
    const node = selected();
    if (node) choose({ at: nearest(node.kept, Number(where.value)) });
  });
  const fields = new Map<string, HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement>();
  const rows = new Map<string, HTMLElement>();
  const controlFor = ({ name: field, kind }: (typeof FIELDS)[number]) => {
    if (kind === "text") return h("textarea", { rows: 2, dir: "auto", spellcheck: false });
    if (kind === "choice") {
      const names = field === "sampler" ? Object.keys(SAMPLERS) : SCHEDULES;
      return h("select", {}, ...names.map((one) => h("option", { value: one }, one)));
    }
    const limits = SETTINGS_LIMITS as unknown as Record<string, readonly [number, number]>;
    const [min, max] = limits[field] ?? [0, 1];
    const whole = ["seed", "steps", "clip_skip", "noise_level"].includes(field);
    return h("input", { type: "number", min, max, step: whole ? 1 : "any" });
  };
  for (const spec of FIELDS) {
    const control = controlFor(spec);
    if (spec.name === "seed") control.setAttribute("placeholder", "the noise goes on");
    fields.set(spec.name, control);
    const row = h(
      "label",
      spec.kind === "text" ? "sdw-b-field sdw-b-wide" : "sdw-b-field",
      h("span", {}, spec.label),
      control,
    );
    rows.set(spec.name, row);
    on(control, "input", () => {
      if (spec.name === "sampler") showOptions();
      showCost();
    });
  }
  const fieldRows = (more: boolean) =>
    FIELDS.filter((spec) => Boolean(spec.more) === more).map(
      (spec) => rows.get(spec.name) as Node & HTMLElement,
    );
  const further = h(
    "details",
    "sdw-b-more",
    h("summary", {}, "More"),
    h("div", "sdw-b-fields", ...fieldRows(true)),
  );
  const grow = button("Grow", "Make this branch: only the steps that are left are paid", () =>
    makeBranch(),
  );
  const cost = h("span", { class: "sdw-b-cost" });
  const branchForm = h(
    "div",
    "sdw-b-form",
    h("div", "sdw-b-fields", whereRow, ...fieldRows(false)),
    further,
  );

  // Edits: the words of the prompt, each of which can be struck, replaced or weighed.
  const words = h("div", { class: "sdw-b-words", role: "group", "aria-label": "Words of the run" });
  const why = h("p", "sdw-b-why");
  const instead = h("input", {
    type: "text",
    dir: "auto",
    "aria-label": "Another word in its place",
  });
  const weight = h("input", { type: "range", ...WEIGHTS, value: 1 });
  const factor = h("output", {});
  const strike = button("Strike", "Make the image without this word", () => {
    instead.value = "";
    makeEdit({ word: picked, replacement: "" });
  });
  const replaceIt = button("Replace", "Make the image with the other word", () => {
    if (instead.value.trim()) makeEdit({ word: picked, replacement: instead.value.trim() });
    else instead.focus();
  });
  on(instead, "keydown", (event) => {
    if (event.key === "Enter" && !isShortcut(event)) replaceIt.click();
  });
  on(weight, "input", () => {
    write(factor, `× ${Number(weight.value).toFixed(1)}`);
    const node = selected();
    const source = node?.draft ? nodeOf(node.parent) : node;
    if (!source || !picked) return;
    const draft = node?.draft ? node.id : -1;
    const changes = { weights: { [picked]: Number(weight.value) } };
    ask("edit", { node: source.id, changes, draft });
  });
  const keep = button("Keep", "Keep this run in the tree; the next drag makes another", () =>
    ask("keep", { node: selected()?.id }),
  );
  const wordForm = h(
    "div",
    "sdw-b-fields",
    h("div", "sdw-b-field sdw-b-wide", instead, strike, replaceIt),
    h("label", "sdw-b-field sdw-b-wide", h("span", {}, "Weight"), weight, factor),
  );
  const editForm = h("div", "sdw-b-form", why, words, wordForm);
  let picked = "";
  const foot = h("div", "sdw-b-foot", grow, keep, cost);
  const side = h(
    "section",
    { class: "sdw-b-side", "aria-label": "The next run" },
    name,
    modes.element,
    branchForm,
    editForm,
    foot,
  );

  let filled = ""; // the run whose settings the fields have
  const fill = (node: Node) => {
    const key = `${node.id} ${JSON.stringify(node.settings)}`;
    if (key === filled) return;
    filled = key;
    for (const [field, control] of fields) {
      const value = field === "seed" ? null : node.settings[field];
      control.value = value === null || value === undefined ? "" : String(value);
      if (field === "prompt" || field === "negative_prompt") {
        (control as HTMLTextAreaElement).disabled = value === null;
      }
    }
    for (const field of OF_SOME_MODELS) {
      const row = rows.get(field);
      if (row) row.hidden = node.settings[field] === null;
    }
    showOptions();
  };
  const showOptions = () => {
    const sampler = fields.get("sampler")?.value ?? "";
    const takes = (SAMPLERS as unknown as Record<string, readonly string[]>)[sampler] ?? [];
    for (const field of OF_SAMPLERS) {
      const row = rows.get(field);
      if (row) row.hidden = !takes.includes(field);
    }
  };
  /** What the fields have otherwise than the run. */
  const changes = (): Record<string, Value> => {
    const node = selected();
    const changed: Record<string, Value> = {};
    for (const { name: field, kind } of FIELDS) {
      const control = fields.get(field);
      if (!control || rows.get(field)?.hidden || control.disabled) continue;
      const before = field === "seed" ? null : (node?.settings[field] ?? null);
      if (kind === "number") {
        if (control.value === "") continue;
        const value = Number(control.value);
        if (value !== before) changed[field] = value;
      } else if (control.value !== (before ?? "")) changed[field] = control.value;
    }
    return changed;
  };
  const makeBranch = () => {
    const step = place();
    if (step >= 0) ask("grow", { node: selected()?.id, step, changes: changes() });
  };
  const makeEdit = (edit: object) => ask("edit", { node: selected()?.id, changes: edit });

  let asked = 0; // the number of the last question about a cost
  let answer: { key: number; words: string } | undefined;
  const showCost = () => {
    const node = selected();
    if (!node) return;
    if (mode === "edit") {
      write(cost, node.edits ? "" : `${inWords(node.steps)} of two images`);
      return;
    }
    const step = place();
    const can = step >= 0 && !goesOn();
    aria(grow, "disabled", !can);
    if (node.kept.length === 0) return write(cost, "This run cannot be branched.");
    if (step < 0) return write(cost, "Choose a step below.");
    const changed = changes();
    if (!GRID.some((field) => field in changed)) {
      answer = undefined;
      return write(cost, `${inWords(node.steps - step)} of ${node.steps}`);
    }
    // another grid: only the kernel knows how many of its levels are left
    if (answer?.key !== asked) write(cost, "…");
    asked += 1;
    ask("cost", { node: node.id, step, changes: changed, key: asked });
  };

  const showWords = () => {
    const node = selected();
    if (!node) return;
    const source = node.draft ? (nodeOf(node.parent) ?? node) : node;
    if (source.edits === "" && !source.words.includes(picked)) picked = source.words[0] ?? "";
    const now = JSON.stringify(source.words);
    if (words.dataset.words !== now) {
      words.dataset.words = now;
      words.replaceChildren(
        ...source.words.map((word) => {
          const chip = h("button", { class: "sdw-button sdw-b-word", dir: "auto" }, word);
          on(chip, "click", () => {
            picked = word;
            weight.value = "1";
            showForm();
            instead.focus();
          });
          return chip;
        }),
      );
    }
    for (const chip of words.querySelectorAll("button")) {
      aria(chip, "pressed", chip.textContent === picked);
    }
    write(factor, `× ${Number(weight.value).toFixed(1)}`);
    weight.setAttribute("aria-label", `Weight of ${picked}`);
    instead.placeholder = `instead of ${picked}`;
    write(why, source.edits);
    for (const element of [words, wordForm]) element.hidden = source.edits !== "";
  };

  const showForm = () => {
    const node = selected();
    if (!node) return;
    modes.show(mode);
    branchForm.hidden = mode !== "branch";
    editForm.hidden = mode !== "edit";
    grow.hidden = mode !== "branch";
    keep.hidden = !node.draft;
    fill(node);
    if (document.activeElement !== name) name.value = node.name;
    name.placeholder = node.changes || node.prompt || "name";
    if (document.activeElement !== where) where.value = place() < 0 ? "" : String(place());
    where.max = String(node.steps - 1);
    showWords();
    for (const [field, control] of fields) {
      const isWrong = model.get("state") === "error" && model.get("wrong") === field;
      if (isWrong) aria(control, "invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
    showCost();
  };

  // ------------------------------------------------------------------------------------ the bar

  const views = choice(
    "What is shown",
    [
      { value: "picture", label: ["Image"] },
      {
        value: "difference",
        label: ["Difference"],
        title: "How far each image is from its parent's",
      },
    ],
    (value: Shown) => choose({ view: value }),
  );
  let comparing: number | undefined; // the run to be compared with another
  const compare = button("Compare…", "Show this run beside another, locked to one step", () => {
    comparing = comparing === undefined ? selected()?.id : undefined;
    showBar();
  });
  const prune = button("Prune", "Take this run away, with all that came from it (Delete)", () =>
    removeRun(),
  );
  const removeRun = () => {
    const node = selected();
    if (node && node.parent !== null) {
      choose({ selected: node.parent, at: -1 });
      ask("prune", { node: node.id });
    }
  };
  const undo = button("Undo", "Bring back what was pruned last", () => ask("undo"));
  const save = button("Save", "The whole tree as one file (.sdtree)", () => ask("save"));
  const input = h("input", { type: "file", accept: ".sdtree", hidden: true });
  const open = button("Open…", "Open a saved tree (.sdtree)", () => input.click());
  const send = opener(
    (words) => {
      said = words;
      showMessage();
    },
    (message, data) => ask("file", message, data),
  );
  on(input, "change", () => {
    const file = input.files?.[0];
    if (file) void send(file);
    input.value = "";
  });
  const hint = h("p", { class: "sdw-b-hint", role: "status" });
  const error = h("p", { class: "sdw-error", role: "alert" });
  const total = h("span", "sdw-b-total");
  const bar = h("div", "sdw-b-bar", views.element, compare, prune, undo, save, open, input, total);

  const showBar = () => {
    const node = selected();
    views.show(model.get("view"));
    if (comparing !== undefined && !nodeOf(comparing)) comparing = undefined;
    aria(compare, "disabled", nodes().length < 2);
    aria(compare, "pressed", comparing !== undefined);
    aria(prune, "disabled", !node || node.parent === null);
    const back = model.get("undoable");
    aria(undo, "disabled", back === 0);
    const paid = nodes().reduce((sum, one) => sum + one.cost, 0);
    const saved = nodes().reduce((sum, one) => sum + (one.how === "branch" ? one.step : 0), 0);
    write(total, saved > 0 ? `${inWords(paid)} paid, ${saved} shared` : `${inWords(paid)} paid`);
    showMessage();
  };
  const showMessage = () => {
    const isError = model.get("state") === "error" && said === "";
    write(error, isError ? model.get("message") : "");
    const asks = comparing === undefined ? "" : "Compare with which run? Choose it below.";
    const making = forming();
    const going = making ? `Growing, ${model.get("message").toLowerCase() || "step by step"}` : "";
    write(
      hint,
      said || asks || going || (isError ? "" : (model.get("message").split("\n")[0] ?? "")),
    );
  };

  // ------------------------------------------------------------------------------------ the map

  const lines = svg("svg", { class: "sdw-b-lines", "aria-hidden": "true" });
  const axis = h("div", { class: "sdw-b-axis", "aria-hidden": "true" });
  const tree = h("div", { class: "sdw-b-tree", role: "tree", "aria-label": "Runs" });
  const map = h("div", "sdw-b-map", axis, h("div", "sdw-b-rows", lines, tree));
  let narrow = false;

  /** The runs as they are drawn: with the one that is being made, after its siblings. */
  const drawn = (): (Node | (Omit<Node, "kept"> & { kept: number[] }))[] => {
    const all = [...nodes()];
    const making = forming();
    const parent = making && nodeOf(making.parent);
    if (!making || !parent || (making.draft !== null && nodeOf(making.draft))) return all;
    const family = new Set([parent.id]);
    let end = all.indexOf(parent);
    all.forEach((node, i) => {
      if (node.parent !== null && family.has(node.parent)) {
        family.add(node.id);
        end = i;
      }
    });
    const made: Node = {
      ...parent,
      id: FORMING,
      parent: parent.id,
      how: making.how,
      step: making.step,
      steps: making.steps,
      name: "",
      changes: "growing",
      cost: making.steps - making.step,
      difference: null,
      kept: [],
      row: "",
      draft: false,
    };
    all.splice(end + 1, 0, made);
    return all;
  };

  const formed = new Map<number, unknown>(); // thumbnails of the run that is being made
  const rowOf = (node: Node, place: Row, each: number) => {
    const isForming = node.id === FORMING;
    const making = forming();
    const images = isForming ? undefined : imagesOf(node);
    const stops = isForming ? [...formed.keys()].sort((a, b) => a - b) : (images?.steps ?? []);
    const thumbs = thatFit(stops, each, THUMB).map((step) => {
      const data = isForming ? formed.get(step) : images?.thumbnails[stops.indexOf(step)];
      const thumb = h(
        "span",
        { class: "sdw-b-stop", title: `Step ${step + 1}: branch before it` },
        h("img", { src: url(`${node.id} ${step}`, data), alt: "", draggable: false }),
      );
      thumb.dataset.step = String(step);
      vary(thumb, "x", `${place.from + (step - node.step + 0.5) * each}px`);
      return thumb;
    });
    const end = h("span", "sdw-b-end");
    vary(end, "x", `${place.to}px`);
    const differs = model.get("view") === "difference" && node.parent !== null;
    const last = isForming ? making?.thumbnail : differs ? images?.difference : images?.image;
    if (hasBytes(last)) {
      const key = `${node.id} ${isForming ? "last" : differs ? "change" : "image"}`;
      const type = differs && !isForming ? "image/png" : "image/jpeg";
      end.append(h("img", { src: url(key, last, type), alt: "", draggable: false }));
    }
    const far =
      node.difference === null ? "" : ` · differs by ${(node.difference * 100).toFixed(1)} %`;
    const what = isForming
      ? `step ${making?.done ?? 0} of ${node.steps}`
      : inWords(node.cost) + far;
    const label = h(
      "span",
      "sdw-b-label",
      h("span", { class: "sdw-b-title", dir: "auto" }, isForming ? "Growing" : titleOf(node)),
      h("span", "sdw-b-what", node.draft ? `draft · ${what}` : what),
    );
    const row = h("div", { class: "sdw-b-row", role: "treeitem" }, ...thumbs, end, label);
    row.dataset.id = String(node.id);
    row.toggleAttribute("data-forming", isForming);
    aria(row, "level", place.level);
    aria(row, "posinset", place.position);
    aria(row, "setsize", place.siblings);
    const came = node.parent === null ? "the run" : `${node.how}, from before step ${node.step}`;
    const told = isForming ? "Growing" : `${titleOf(node)}, ${came}, ${what}`;
    aria(row, "label", told);
    return row;
  };

  const draw = () => {
    const all = drawn() as Node[];
    const making = forming();
    if (!making) formed.clear();
    else if (hasBytes(making.thumbnail)) formed.set(making.at, making.thumbnail);
    const width = map.clientWidth || 800;
    narrow = width < NARROW;
    map.toggleAttribute("data-narrow", narrow);
    const { rows: places, height, each, x, ticks } = layout(all, width - (narrow ? 76 : 300));
    const hadFocus = tree.contains(document.activeElement);
    vary(map, "height", `${height}px`);
    axis.replaceChildren(
      ...ticks.map(({ step, x: at }) => {
        const tick = h("span", {}, String(step));
        vary(tick, "x", `${at}px`);
        return tick;
      }),
    );
    lines.replaceChildren(
      ...places.map(({ id, line }) => {
        const path = svg("path", { d: line });
        path.classList.toggle("sdw-b-now", id === FORMING);
        return path;
      }),
    );
    const used = new Set(all.map(({ id }) => String(id)));
    for (const key of [...known.keys()]) {
      const [id = ""] = key.split(" ");
      if (id === "forming" || used.has(id)) continue;
      URL.revokeObjectURL(known.get(key)?.url ?? "");
      known.delete(key);
    }
    tree.replaceChildren(...all.map((node, i) => rowOf(node, places[i] as Row, each)));
    mark(x);
    if (hadFocus) rowElement(model.get("selected"))?.focus();
  };
  const rowElement = (id: number) => tree.querySelector<HTMLElement>(`[data-id="${id}"]`);

  /** Marks the run and the step on show. */
  const mark = (_x?: unknown) => {
    const node = selected();
    const at = model.get("at");
    for (const row of tree.querySelectorAll<HTMLElement>("[role=treeitem]")) {
      const isHere = row.dataset.id === String(node?.id);
      aria(row, "selected", isHere);
      row.tabIndex = isHere ? 0 : -1;
      for (const stop of row.querySelectorAll<HTMLElement>(".sdw-b-stop")) {
        stop.toggleAttribute("data-here", false);
      }
      row.querySelector(".sdw-b-end")?.toggleAttribute("data-here", isHere && at < 0);
    }
    if (!node || at < 0) return;
    const found = madeAt(node, at);
    const row = found && rowElement(found.node.id);
    const stops = [...(row?.querySelectorAll<HTMLElement>(".sdw-b-stop") ?? [])];
    const steps = stops.map((stop) => Number(stop.dataset.step));
    const here = stops[steps.indexOf(nearest(steps, at))];
    here?.toggleAttribute("data-here", true);
  };

  const pick = (id: number, at: number) => {
    if (id === FORMING) return;
    if (comparing !== undefined) {
      const first = comparing;
      comparing = undefined;
      if (first !== id) ask("compare", { node: first, other: id });
      showBar();
      return;
    }
    choose({ selected: id, at });
    if (at >= 0) mode = "branch";
    showForm();
  };
  on(tree, "click", (event) => {
    const target = event.target as Element;
    const row = target.closest<HTMLElement>("[role=treeitem]");
    if (!row) return;
    row.focus();
    const stop = target.closest<HTMLElement>(".sdw-b-stop");
    pick(Number(row.dataset.id), stop ? Number(stop.dataset.step) : -1);
  });
  on(tree, "keydown", (event) => {
    const node = selected();
    if (isShortcut(event) || !node) return;
    const all = nodes();
    const here = all.indexOf(node);
    const at = model.get("at");
    const go = (next: Node | undefined) => {
      if (!next) return;
      choose({ selected: next.id, at: at < 0 ? -1 : clamp(at, 0, next.steps - 1) });
      rowElement(next.id)?.focus();
    };
    const acts: Record<string, () => void> = {
      ArrowDown: () => go(all[here + 1]),
      ArrowUp: () => go(all[here - 1]),
      ArrowLeft: () => choose({ at: at < 0 ? node.steps - 1 : Math.max(at - 1, 0) }),
      ArrowRight: () => choose({ at: at < 0 || at >= node.steps - 1 ? -1 : at + 1 }),
      Home: () => choose({ at: 0 }),
      End: () => choose({ at: -1 }),
      Enter: () => {
        if (comparing !== undefined) pick(node.id, at);
        else if (at >= 0) fields.get("prompt")?.focus();
        else choose({ at: node.kept.at(-1) ?? 0 });
      },
      c: () => compare.click(),
      F2: () => name.focus(),
      Delete: removeRun,
      Backspace: removeRun,
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    write(spoken, model.get("at") < 0 ? "the image" : `step ${model.get("at") + 1}`);
  });
  const spoken = h("p", { class: "sdw-b-spoken", role: "status" });

  // -------------------------------------------------------------------------------- all together

  el.classList.add("sdw", "sdw-branches");
  el.replaceChildren(
    h("div", "sdw-b-top", stage, side),
    bar,
    h("div", "sdw-b-said", error, hint),
    map,
    spoken,
  );

  const showSelection = () => {
    showImage();
    showForm();
    showBar();
    mark();
  };
  const showAll = () => {
    draw();
    showSelection();
  };
  const heard = (message: unknown, buffers: readonly unknown[]) => {
    const {
      kind,
      key,
      cost: left,
      why: reason,
      name: file,
    } = Object(message) as Record<string, unknown>;
    if (kind === "cost" && key === asked) {
      const text =
        typeof left === "number" ? inWords(left) : String(reason || "the rest of the new grid");
      answer = { key: asked, words: text };
      write(cost, text);
    }
    if (kind === "file" && buffers[0]) {
      const address = addressOf(buffers[0], "application/octet-stream");
      h("a", { href: address, download: String(file) }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    }
  };

  const showForming = () => {
    draw();
    showImage();
  };
  /** Forgets what the page itself has said, as the kernel says something. */
  const hush = (then: () => void) => {
    said = "";
    then();
  };
  /** Shows a choice, unless it is the kernel's echo of an earlier one. */
  const shown = (show: () => void) => () => {
    choices.keep();
    show();
  };
  const observed: [string, () => void][] = [
    ["change:nodes", showAll],
    ["change:forming", showForming],
    ["change:selected", shown(showSelection)],
    ["change:at", shown(showSelection)],
    ["change:view", shown(showAll)],
    ["change:state", () => hush(showSelection)],
    ["change:message", () => hush(showMessage)],
    ["change:undoable", showBar],
  ];
  for (const [event, act] of observed) (model as AnyModel).on(event, act);
  (model as AnyModel).on("msg:custom", heard);
  const stopKeeping = keepKeys(el, () => {
    if (mode === "branch") makeBranch();
  });
  const leave = onConnection(model, (now) => {
    lost = now;
    if (!now && said === LOST) said = "";
    showMessage();
  });
  const size = new ResizeObserver(() => draw());
  size.observe(map);
  showAll();
  return () => {
    size.disconnect();
    for (const [event, act] of observed) (model as AnyModel).off(event, act);
    (model as AnyModel).off("msg:custom", heard);
    choices.remove();
    stopKeeping();
    leave();
    for (const { url: address } of known.values()) URL.revokeObjectURL(address);
    known.clear();
  };
};

export default { render };
