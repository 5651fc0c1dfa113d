// Two points side by side, with the difference of their images and of their settings.

import { addressOf } from "../lib/bytes";
import { paintDifference, pixels } from "../lib/difference";
import { h, on, write } from "../lib/dom";
import { named } from "./places";
import type { Point, Store } from "./store";

export function pair(store: Store, close: () => void) {
  const canvas = h("canvas", { class: "sdw-s-map", role: "img", "aria-label": "difference" });
  const note = h("p", "sdw-s-note");
  const sides = [side(), side()] as const;
  const three = h(
    "div",
    "sdw-s-three",
    ...sides.map((one) => one.element),
    h("figure", {}, canvas, h("figcaption", {}, h("strong", {}, "difference"), note)),
  );
  const shut = h("button", { class: "sdw-button" }, "Close");
  on(shut, "click", close);
  const element = h(
    "section",
    { class: "sdw-s-pair", "aria-label": "Two images side by side", hidden: true },
    h("div", "sdw-s-pair-head", h("p", "sdw-title", "compared"), shut),
    three,
  );
  let points: readonly number[] = [];
  let drawn: readonly (Point | undefined)[] | undefined; // none yet of these points

  const show = () => {
    element.hidden = points.length < 2;
    const [first, second] = points.map((point) => store.point(point));
    if (drawn && drawn[0] === first && drawn[1] === second) return;
    const now = [first, second];
    drawn = now;
    three.hidden = now.every((one) => one?.whole); // the kernel shows them step by step, below
    sides.forEach((one, i) => {
      one.show(store, points[i], now[i], now[1 - i]);
    });
    write(note, "");
    element.dataset.found = "false";
    Promise.all([first, second].map((one) => pixels(file(one)))).then(([a, b]) => {
      if (now !== drawn || !a || !b) return;
      const words = paintDifference(canvas, a, b);
      element.dataset.found = String(words !== undefined);
      write(note, words ?? "The two differ in size.");
    });
  };
  return {
    element,
    get points() {
      return points;
    },
    compare(some: readonly number[]) {
      points = some;
      drawn = undefined;
      for (const point of some) if (store.point(point) === undefined) store.open(point);
      show();
    },
    show,
    remove: () => {
      for (const one of sides) one.forget();
    },
  };
}

const file = (point: Point | undefined) =>
  point?.data === undefined ? undefined : { data: point.data, type: point.type };

function side() {
  const image = h("img", { class: "sdw-s-map", alt: "" });
  const title = h("strong", { dir: "auto" });
  const list = h("span", "sdw-s-other");
  const element = h("figure", {}, image, h("figcaption", {}, title, list));
  let address: string | undefined;
  const forget = () => {
    if (address) URL.revokeObjectURL(address);
    address = undefined;
  };
  return {
    element,
    forget,
    show(store: Store, index: number | undefined, own?: Point, other?: Point) {
      forget();
      if (own?.data) address = addressOf(own.data, own.type);
      if (address) image.src = address;
      else image.removeAttribute("src");
      const name = index === undefined ? "" : named(store.axes, index);
      image.alt = name;
      write(title, name);
      const others = new Map(other?.about);
      const differs = (own?.about ?? []).filter(([key, text]) => others.get(key) !== text);
      write(list, other ? differs.map(([key, text]) => `${key} ${text}`).join(", ") : "");
    },
  };
}
