// What is known of a point: its image in full, its settings in words, what to do with it.

import { addressOf } from "../lib/bytes";
import { making, NoCell } from "../lib/cell";
import { aria, h, on, write } from "../lib/dom";
import { amount, fileName } from "../lib/words";
import { named } from "./places";
import type { Point, Store } from "./store";

interface Acts {
  use(point: number): void;
  compare(): void; // begins to choose another, or ends that
  say(message: string): void;
}

const HINT = "Choose an image: its settings appear here.";

export function detail(store: Store, acts: Acts) {
  const image = h("img", { class: "sdw-s-whole", alt: "", hidden: true });
  const stage = h("div", "sdw-s-stage", image);
  const title = h("p", { class: "sdw-s-title", dir: "auto" });
  const error = h("p", { class: "sdw-error", dir: "auto" });
  const list = h("dl", { class: "sdw-s-about", tabindex: 0, "aria-label": "Settings" });
  const button = (words: string, hint: string, act: () => void) => {
    const made = h("button", { class: "sdw-button", title: hint }, words);
    on(made, "click", () => {
      if (made.getAttribute("aria-disabled") !== "true") act();
    });
    return made;
  };
  const copy = button("Copy as code", "The code of a cell that makes this image", () => {
    const code = codeOf(known());
    if (code === undefined) return;
    const copied = navigator.clipboard?.writeText(code) ?? Promise.reject();
    copied.then(
      () => acts.say("Copied: paste it into a cell."),
      () => acts.say("The browser did not allow it to be copied."),
    );
  });
  const use = button("Use in the Studio", "Load these settings in the Studio on this page", () => {
    if (open !== undefined) acts.use(open);
  });
  const compare = button("Compare…", "Show this image beside another", acts.compare);
  const keep = h("a", { class: "sdw-button sdw-s-save", download: "", hidden: true }, "Save");
  const buttons = h("div", "sdw-s-acts", compare, copy, use, keep);
  const element = h(
    "section",
    { class: "sdw-s-detail", "aria-label": "The chosen image" },
    stage,
    title,
    buttons,
    error,
    list,
  );

  let open: number | undefined;
  let address: string | undefined; // of the image in full
  let shown: unknown; // the point whose image that is

  const known = () => (open === undefined ? undefined : store.point(open));
  const forget = () => {
    if (address) URL.revokeObjectURL(address);
    address = undefined;
  };
  const rows = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", { dir: "auto" }, text)));

  const show = (comparing: boolean) => {
    const point = known();
    element.toggleAttribute("data-empty", open === undefined);
    element.dataset.point = String(open ?? "");
    const state = open === undefined ? "waiting" : store.state(open);
    element.dataset.whole = String(point?.data !== undefined);
    if (point !== shown) {
      forget();
      shown = point;
      if (point?.data) address = addressOf(point.data, point.type);
    }
    const small = open === undefined ? undefined : store.image(open);
    const source = address ?? small;
    image.hidden = source === undefined;
    if (source === undefined) image.removeAttribute("src");
    else if (image.getAttribute("src") !== source) image.src = source;
    const name = open === undefined ? "" : named(store.axes, open);
    image.alt = name;
    const waits = state === "running" ? "Being made" : "Not made yet";
    stage.dataset.words =
      open === undefined ? "" : state === "failed" ? "Failed" : state === "done" ? "" : waits;
    write(title, open === undefined ? HINT : name);
    write(error, open === undefined ? "" : point?.error || store.error(open));
    const scores = store.scoreNames.flatMap((each, i) => {
      const value = open === undefined ? Number.NaN : store.score(open, i);
      return Number.isFinite(value) ? [[each, amount(value)] as const] : [];
    });
    const about = point?.about ?? store.about;
    list.replaceChildren(...(open === undefined ? [] : rows([...scores, ...about])));
    buttons.hidden = open === undefined;
    aria(copy, "disabled", codeOf(point) === undefined);
    aria(compare, "disabled", state !== "done");
    aria(compare, "pressed", comparing);
    use.hidden = point?.studio !== true;
    keep.hidden = address === undefined;
    if (address !== undefined && open !== undefined) {
      keep.href = address;
      keep.download = fileName(name, undefined, point?.type ?? "image/png");
    }
  };

  return {
    element,
    get point() {
      return open;
    },
    open(point: number | undefined) {
      open = point;
      if (point !== undefined && store.point(point) === undefined) store.open(point);
    },
    show,
    remove: forget,
  };
}

/** The code that makes a point's image; undefined where that is not known. */
function codeOf(point: Point | undefined): string | undefined {
  if (point?.made === undefined || point.made === null) return undefined;
  try {
    return making(point.made);
  } catch (error) {
    if (error instanceof NoCell) return undefined;
    throw error;
  }
}
