// The Studio's earlier results: thumbnails, and buttons for the result on the stage.

import type { AnyModel, Render } from "@anywidget/types";
import { addressOf, type Binary } from "./lib/bytes";
import { quietly } from "./lib/choices";
import type { ASKS } from "./lib/contract";
import { aria, h, on, write } from "./lib/dom";
import { enlarged } from "./lib/enlarged";
import { LOST, onConnection } from "./lib/kernel";
import { isShortcut, keepKeys, roving } from "./lib/keys";
import "./history.css";

export interface Entry {
  id: number;
  prompt: string;
  seed: number;
  title: string; // the settings in words
  thumbnail: Binary; // JPEG
  count: number; // of its images
  pinned: boolean;
  whole: boolean; // its record is kept, so it can be compared
}

export interface Model {
  entries: Entry[]; // oldest first
  current: number; // the id of the result on the stage
}

type Kind = (typeof ASKS)["history"][number];

const HINTS = {
  none: "Earlier images stay here",
  compare: "Compare with which image? Choose it, or press Compare again.",
};

const render: Render<Model> = ({ model, el }) => {
  let lost = false;
  let refused = false; // something was asked of a kernel that is gone
  const ask = (kind: Kind, id: number, other = 0) => {
    refused = lost;
    if (lost) show();
    else quietly(() => model.send({ kind, id, other }));
  };
  const row = h("div", { class: "sdw-strip", role: "toolbar", "aria-label": "Earlier images" });
  const oneTabStop = roving(row);
  const hint = h("p", { class: "sdw-hint", role: "status", tabindex: -1 });
  const urls: string[] = [];
  let shown: Entry[] = [];
  let comparing = false;

  const entries = () => model.get("entries") ?? [];
  const current = () => entries().find(({ id }) => id === model.get("current"));
  const thumb = (id: unknown) => row.querySelector<HTMLElement>(`[data-id="${id}"]`) ?? undefined;
  const focused = () => row.querySelector<HTMLElement>("button:focus")?.dataset.id;

  // ------------------------------------------------------------------------------ the buttons

  const opened = enlarged(el, (id, index) => ask("use", id, index));
  const button = (words: string, title: string, act: (entry: Entry) => void) => {
    const made = h("button", { class: "sdw-button", title }, words);
    on(made, "click", () => {
      const entry = current();
      if (entry !== undefined && made.getAttribute("aria-disabled") !== "true") act(entry);
    });
    return made;
  };
  const open = (entry: Entry) => {
    opened.open(entry);
    ask("open", entry.id);
  };
  const remove = ({ id }: Entry) => {
    const at = shown.findIndex((entry) => entry.id === id);
    const next = shown[at + 1] ?? shown[at - 1];
    if (focused() === String(id) && next && !lost) thumb(next.id)?.focus();
    ask("delete", id);
  };
  const pin = ({ id }: Entry) => ask("pin", id);
  const buttons = {
    open: button("Enlarge", "Every image of this result, as large as the window", open),
    use: button("Start from it", "Start the next run from this image", ({ id }) => ask("use", id)),
    compare: button("Compare…", "Show this result beside another, step by step", () => {
      comparing = !comparing;
      show();
    }),
    pin: button("Pin", "Keep this result, however many come after it", pin),
    delete: button("Delete", "Remove this result from the history", remove),
  };
  const actions = h(
    "div",
    { class: "sdw-acts", role: "toolbar", "aria-label": "The image on show" },
    ...Object.values(buttons),
  );
  const oneStopOfActions = roving(actions);
  el.classList.add("sdw", "sdw-history");
  el.replaceChildren(row, h("div", "sdw-acts-row", actions, hint));

  // --------------------------------------------------------------------------- the thumbnails

  const pick = (id: number) => {
    const first = current();
    if (!comparing || first === undefined) return ask("recall", id);
    if (thumb(id)?.hasAttribute("data-out")) return; // the same result, or one without its steps
    comparing = false;
    ask("compare", first.id, id);
    show();
  };
  const thumbnail = (entry: Entry) => {
    const url = addressOf(entry.thumbnail, "image/jpeg");
    urls.push(url);
    const { prompt, seed, count, pinned } = entry;
    const what = [prompt || "no prompt", `seed ${seed}`];
    if (count > 1) what.push(`${count} images`);
    if (pinned) what.push("pinned");
    const label = `${what.join(", ")}: show it and load its settings`;
    const keys = "Delete P";
    const element = h(
      "button",
      { class: "sdw-thumb", title: entry.title, "aria-label": label, "aria-keyshortcuts": keys },
      h("img", { src: url, alt: "" }),
    );
    if (count > 1)
      element.append(h("span", { class: "sdw-count-of", "aria-hidden": "true" }, `${count}`));
    element.dataset.id = String(entry.id);
    element.toggleAttribute("data-pinned", pinned);
    on(element, "click", () => pick(entry.id));
    on(element, "keydown", (event) => {
      if (isShortcut(event)) return;
      if (event.key === "Delete" || event.key === "Backspace") remove(entry);
      else if (event.key === "p") pin(entry);
      else return;
      event.preventDefault();
    });
    return element;
  };

  const forget = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };
  const isShown = (some: Entry[]) =>
    some.length === shown.length &&
    some.every(({ id, pinned }, i) => id === shown[i]?.id && pinned === shown[i]?.pinned);

  function show() {
    const now = entries();
    const was = focused();
    const hadFocus = el.contains(document.activeElement);
    if (!isShown(now)) {
      const isNew = now.at(-1)?.id !== shown.at(-1)?.id;
      forget();
      row.replaceChildren(...now.map(thumbnail));
      shown = now;
      if (isNew) row.scrollLeft = row.scrollWidth; // the newest is the last
      thumb(was)?.focus();
    }
    const entry = current();
    for (const element of row.querySelectorAll("button")) {
      if (element.dataset.id === String(entry?.id)) aria(element, "current", "true");
      else element.removeAttribute("aria-current");
    }
    oneTabStop(thumb(was) ?? thumb(entry?.id));

    const others = now.filter(({ id, whole }) => whole && id !== entry?.id);
    comparing &&= entry?.whole === true && others.length > 0;
    for (const [name, each] of Object.entries(buttons)) {
      const lacks = name === "compare" && !(entry?.whole && others.length > 0);
      aria(each, "disabled", entry === undefined || lacks);
    }
    buttons.compare.title =
      entry && !entry.whole
        ? "The steps of this result are no longer kept. Those of pinned and of new results are"
        : "Show this result beside another, step by step";
    aria(buttons.compare, "pressed", comparing);
    write(buttons.pin, entry?.pinned ? "Unpin" : "Pin");
    oneStopOfActions();
    el.toggleAttribute("data-empty", now.length === 0);
    el.toggleAttribute("data-comparing", comparing);
    for (const { id, whole } of now) {
      const element = thumb(id);
      const isOut = comparing && !(whole && id !== entry?.id);
      element?.toggleAttribute("data-out", isOut);
      if (element) aria(element, "disabled", isOut);
    }
    const words = comparing ? HINTS.compare : now.length === 0 ? HINTS.none : "";
    write(hint, refused ? LOST : words);
    if (now.length === 0 && hadFocus) hint.focus(); // what had it is gone or hidden
  }

  const heard = (message: unknown, buffers: readonly unknown[]) => {
    const { kind, id, images } = Object(message) as Record<string, unknown>;
    if (kind === "images" && Array.isArray(images)) opened.fill(id, images, buffers);
  };
  const stopKeeping = keepKeys(el);
  const leave = onConnection(model, (now) => {
    lost = now;
    refused &&= lost;
    show();
  });
  show();
  model.on("change:entries", show);
  model.on("change:current", show);
  (model as AnyModel).on("msg:custom", heard);
  return () => {
    model.off("change:entries", show);
    model.off("change:current", show);
    (model as AnyModel).off("msg:custom", heard);
    stopKeeping();
    leave();
    opened.remove();
    forget();
  };
};

export default { render };
