// The images of a training: the newest one large, earlier ones to look at and to play.

import { bytes } from "../lib/bytes";
import { nearest } from "../lib/curve";
import { aria, h, on, svg, vary, write } from "../lib/dom";
import { roving } from "../lib/keys";
import { clamp } from "../lib/numbers";
import { type Sheet, spoken } from "../lib/sheets";
import { PAUSE, PLAY } from "./transport";

const TICK = 350; // ms per sheet while playing
const REST = 4; // ticks on the newest before starting again

export interface Sheets {
  element: HTMLElement;
  show(sheets: readonly Sheet[], id: number): void; // in the order of their steps; `id` is the training's
  pick(step: number): void; // shows the sheet nearest to that step
  readonly step: number | undefined; // the step of the sheet on show, if it is an earlier one
  remove(): void;
}

/** `changed` is called when another sheet is shown. */
export function sheets(changed: () => void): Sheets {
  const image = h("img", { class: "sdw-t-image", alt: "" });
  const lines = h("div", "sdw-t-lines");
  const words = h("div", { class: "sdw-t-words", "aria-hidden": "true" }); // the image's alt says them
  const box = h("div", "sdw-t-box", image, lines, words);
  const hint = h("p", "sdw-t-hint", "The images appear here");
  const stage = h("div", "sdw-t-stage", hint, box);
  const slider = h("input", { class: "sdw-v-slider", type: "range", min: 0, max: 1, value: 0 });
  aria(slider, "label", "images on show");
  const sign = svg("path");
  const icon = svg("svg", { viewBox: "0 0 16 16" });
  icon.append(sign);
  const button = h("button", { class: "sdw-button sdw-v-play" }, icon);
  const where = h("span", {}, "");
  const advice = h("span", {}, "");
  const strip = h("div", {
    class: "sdw-t-strip",
    role: "toolbar",
    "aria-label": "Images so far",
  });
  const oneTabStop = roving(strip);
  const element = h(
    "div",
    "sdw-t-left",
    stage,
    h("div", "sdw-v-transport", button, slider),
    h("p", { class: "sdw-t-caption", "aria-hidden": "true" }, where, advice),
    strip,
  );

  let all: readonly Sheet[] = [];
  let training = 0;
  let chosen: number | undefined; // the step of the chosen sheet; undefined follows the newest
  let timer: ReturnType<typeof setInterval> | undefined;
  let rested = 0;
  const made = new Map<Sheet, { url: string; thumb: HTMLElement }>();

  const place = () =>
    chosen === undefined
      ? all.length - 1
      : nearest(
          all.map(({ step }) => step),
          chosen,
        );

  const go = (to: number) => {
    const last = all.length - 1;
    const at = clamp(to, 0, last);
    chosen = at < last ? all[at]?.step : undefined;
    draw();
    changed();
  };
  const move = (to: number) => {
    pause();
    go(to);
  };

  const tick = () => {
    if (place() < all.length - 1) go(place() + 1);
    else if (++rested >= REST) go(0);
    if (place() < all.length - 1) rested = 0;
  };
  const pause = () => {
    clearInterval(timer);
    timer = undefined;
    draw();
  };
  const toggle = () => {
    if (timer) pause();
    else if (all.length > 1) {
      rested = 0;
      timer = setInterval(tick, TICK);
      if (place() === all.length - 1) go(0);
      draw();
    }
  };

  const make = (sheet: Sheet) => {
    const blob = new Blob([new Uint8Array(bytes(sheet.data))], { type: sheet.type });
    const url = URL.createObjectURL(blob);
    const label = `images after step ${sheet.step}`;
    const attributes = {
      type: "button",
      class: "sdw-thumb sdw-t-thumb",
      title: `step ${sheet.step}`,
    };
    const thumb = h(
      "button",
      { ...attributes, "aria-label": label, tabindex: -1 },
      h("img", { src: url, alt: "" }),
    );
    on(thumb, "click", () => move(all.indexOf(sheet)));
    return { url, thumb };
  };

  const draw = () => {
    const at = place();
    const sheet = all[at];
    const several = all.length > 1;
    element.dataset.show = sheet ? "images" : "nothing";
    element.dataset.step = String(sheet?.step ?? 0);
    if (sheet) {
      const { width, height, rows, columns } = sheet;
      const url = made.get(sheet)?.url ?? "";
      if (image.src !== url) image.src = url;
      image.alt = spoken(sheet);
      label(sheet);
      vary(stage, "shape", `${width} / ${height}`);
      vary(stage, "wide", width >= height ? "100%" : "auto");
      vary(stage, "high", width >= height ? "auto" : "100%");
      vary(lines, "tile", `calc(100% / ${columns}) calc(100% / ${rows})`);
    }
    slider.max = String(Math.max(all.length - 1, 1));
    slider.value = String(Math.max(at, 0));
    aria(slider, "valuetext", sheet ? `step ${sheet.step}` : "no images yet");
    // Not `disabled`: it may have the focus, and the next keys would go to the notebook.
    for (const one of [slider, button]) aria(one, "disabled", !several);
    const playing = timer !== undefined;
    aria(button, "label", playing ? "pause the images" : "play the images");
    button.title = playing ? "Pause" : "Play how the images improved";
    sign.setAttribute("d", playing ? PAUSE : PLAY);
    write(where, sheet ? `after step ${sheet.step}` : "");
    const newest = at === all.length - 1;
    write(advice, !several ? "" : newest ? "the newest" : "an earlier one; the last is the newest");
    all.forEach((one, i) => {
      const thumb = made.get(one)?.thumb;
      if (i === at) thumb?.setAttribute("aria-current", "true");
      else thumb?.removeAttribute("aria-current");
    });
    oneTabStop(sheet && made.get(sheet)?.thumb);
  };

  let labelled = ""; // the prompts in `words`
  const label = ({ prompts, columns, rows }: Sheet) => {
    const now = JSON.stringify([prompts, columns, rows]);
    if (now === labelled) return;
    labelled = now;
    vary(words, "columns", `repeat(${columns}, minmax(0, 1fr))`);
    vary(words, "rows", `repeat(${rows}, minmax(0, 1fr))`);
    const cells = prompts.map((prompt) => {
      const word = prompt ? [h("span", { class: "sdw-t-word", dir: "auto" }, prompt)] : [];
      return h("div", { class: "sdw-t-tile", title: prompt }, ...word);
    });
    words.replaceChildren(...cells);
  };

  const forget = (kept: readonly Sheet[]) => {
    for (const [sheet, { url }] of made) {
      if (kept.includes(sheet)) continue;
      URL.revokeObjectURL(url);
      made.delete(sheet);
    }
  };

  on(slider, "input", () => move(Number(slider.value)));
  on(button, "click", toggle);

  draw();
  return {
    element,
    show(next, id) {
      if (id !== training) chosen = undefined;
      training = id;
      for (const sheet of next) if (!made.has(sheet)) made.set(sheet, make(sheet));
      const atEnd = strip.scrollLeft + strip.clientWidth >= strip.scrollWidth - 4;
      const focused = strip.contains(document.activeElement) ? document.activeElement : null;
      all = next;
      forget(next);
      strip.replaceChildren(...next.map((sheet) => made.get(sheet)?.thumb ?? ""));
      if (focused instanceof HTMLElement && strip.contains(focused)) focused.focus();
      if (atEnd) strip.scrollLeft = strip.scrollWidth;
      if (all.length < 2) pause();
      draw();
    },
    pick(step) {
      move(
        nearest(
          all.map((sheet) => sheet.step),
          step,
        ),
      );
    },
    get step() {
      return chosen === undefined ? undefined : all[place()]?.step;
    },
    remove() {
      clearInterval(timer);
      forget([]);
    },
  };
}
