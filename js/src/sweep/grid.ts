// The grid of a sweep: rows and columns with labels that stay in view, or cells one after another.

import { aria, h, on, vary } from "../lib/dom";
import { isShortcut } from "../lib/keys";
import { clamp, times } from "../lib/numbers";
import { type Cell, cell, type Shown } from "./cell";
import { flow, placeOf, pointAt, ranked, table, worded } from "./places";
import type { Store } from "./store";

export const SIZES = { S: 72, M: 128, L: 216 } as const; // px of an image's longer side
export type Size = keyof typeof SIZES;
const GAP = 6; // px between two cells
const NARROWEST = 56; // px of a cell, for its words

export interface Look {
  tab: number;
  size: Size;
  score: number; // which of the scores is shown, -1 for none
  sorted: boolean; // by that score
}

interface Acts {
  /** Opens a point; `second` compares it with the one that is open. */
  pick(point: number, second: boolean): void;
  /** Goes to another tab. */
  turn(by: number): void;
}

export function grid(store: Store, acts: Acts) {
  const element = h("div", { class: "sdw-s-grid", role: "grid" });
  const scroller = h("div", "sdw-s-scroller", element);
  const cells = new Map<number, Cell>();
  const near = new Set<Cell>(); // in sight, or almost
  let rows: Cell[][] = [];
  let look: Look = { tab: 0, size: "M", score: -1, sorted: false };
  let drawn = ""; // what the cells were laid out for
  let current = 0; // the point that Tab reaches
  let chosen: readonly number[] = [];

  const isSorted = () => look.sorted && look.score >= 0;
  const isFlow = () => isSorted() || store.axes.length < 2;
  /** The size of an image in px: its longer side is given, the other follows from its shape. */
  const box = () => {
    const [w, h] = store.shape;
    return [w / h, h / w].map((part) => Math.round(SIZES[look.size] * Math.min(part, 1)));
  };
  const wide = () => Math.max(box()[0] ?? 0, NARROWEST);
  const columns = () => {
    const room = scroller.clientWidth || 640;
    return Math.max(Math.floor((room - GAP) / (wide() + GAP)), 1);
  };

  const shown = (): Shown => {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let point = 0; look.score >= 0 && point < store.count; point++) {
      const value = store.score(point, look.score);
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return { score: look.score, low, high, labelled: isFlow() };
  };

  const show = (points?: readonly number[]) => {
    const how = shown();
    const some = points?.flatMap((point) => cells.get(point) ?? []) ?? [...cells.values()];
    for (const one of some) one.show(how, near.has(one));
    store.look(some.filter((one) => near.has(one)).map(({ point }) => point));
  };

  const arrived = (
    entries: readonly Pick<IntersectionObserverEntry, "target" | "isIntersecting">[],
  ) => {
    const points = entries
      .filter(({ isIntersecting }) => isIntersecting)
      .map(({ target }) => Number((target as HTMLElement).dataset.point));
    for (const point of points) {
      const found = cells.get(point);
      if (found) near.add(found);
      if (found) sight.unobserve(found.element);
    }
    show(points);
  };
  const sight = new IntersectionObserver(arrived, { rootMargin: "300px" });

  // ------------------------------------------------------------------------------- the layout

  const make = (point: number): Cell => {
    const made = cell(store, point);
    cells.set(point, made);
    sight.observe(made.element);
    return made;
  };
  const label = (role: string, kind: string, text: string) =>
    h(
      "div",
      { class: `sdw-s-head ${kind}`, role, title: text },
      h("span", { class: "sdw-s-words", dir: "auto" }, text),
    );

  /** The labels of the columns, above the first row. */
  const firstRow = () => {
    const [first, second] = store.axes;
    const { name = "", values = [] } = first ?? {};
    return h(
      "div",
      { class: "sdw-s-row sdw-s-first", role: "row" },
      label("columnheader", "sdw-s-corner", second?.name ?? ""),
      ...values.map((value) => label("columnheader", "sdw-s-top", worded(name, value))),
    );
  };
  const row = (line: readonly Cell[], i: number) => {
    const [, axis] = store.axes;
    const side =
      isFlow() || !axis
        ? []
        : [label("rowheader", "sdw-s-side", worded(axis.name, axis.values[i] ?? ""))];
    return h(
      "div",
      { class: "sdw-s-row", role: "row" },
      ...side,
      ...line.map((one) => one.element),
    );
  };

  const build = () => {
    const order = isSorted()
      ? ranked((point) => store.score(point, look.score), store.count)
      : times(store.count, (point) => point);
    const layout = isFlow() ? flow(order, columns()) : table(store.axes, look.tab);
    const now = JSON.stringify([isFlow(), layout, store.axes]);
    if (now === drawn) return;
    drawn = now;
    const hadFocus = element.contains(document.activeElement);
    sight.disconnect();
    cells.clear();
    near.clear();
    rows = layout.map((points) => points.map(make));
    element.replaceChildren(...(isFlow() ? [] : [firstRow()]), ...rows.map(row));
    element.dataset.layout = isFlow() ? "flow" : "table";
    if (!cells.has(current)) current = sameCell();
    reach(current, hadFocus);
  };

  /** The cell of this tab at the place of the current one in another. */
  const sameCell = () => {
    const [column, line] = placeOf(store.axes, current);
    const there = pointAt(store.axes, column, line, look.tab);
    return cells.has(there) ? there : (rows[0]?.[0]?.point ?? 0);
  };

  // --------------------------------------------------------------------------------- the keys

  const reach = (point: number, focus: boolean) => {
    const before = cells.get(current);
    if (before) before.element.tabIndex = -1;
    current = point;
    const now = cells.get(point);
    if (!now) return;
    now.element.tabIndex = 0;
    if (focus) now.element.focus();
  };
  const cellAt = (event: Event) => {
    const found = (event.target as Element).closest<HTMLElement>(".sdw-s-cell");
    return found ? Number(found.dataset.point) : undefined;
  };
  on(element, "focusin", (event) => {
    const point = cellAt(event);
    if (point !== undefined && point !== current) reach(point, false);
  });
  on(element, "click", (event) => {
    const point = cellAt(event);
    if (point === undefined) return;
    reach(point, true);
    acts.pick(point, event.shiftKey);
  });
  on(element, "keydown", (event) => {
    if (isShortcut(event) || event.shiftKey || cellAt(event) === undefined) return;
    const line = rows.findIndex((one) => one.some(({ point }) => point === current));
    const column = rows[line]?.findIndex(({ point }) => point === current) ?? 0;
    const moves: Record<string, [number, number]> = {
      ArrowRight: [line, column + 1],
      ArrowLeft: [line, column - 1],
      ArrowDown: [line + 1, column],
      ArrowUp: [line - 1, column],
      Home: [line, 0],
      End: [line, Number.POSITIVE_INFINITY],
    };
    const to = moves[event.key];
    if (event.key === "Enter" || event.key === " ") acts.pick(current, false);
    else if (event.key === "c") acts.pick(current, true);
    else if (event.key === "PageDown") acts.turn(1);
    else if (event.key === "PageUp") acts.turn(-1);
    else if (to) {
      const there = rows[clamp(to[0], 0, rows.length - 1)];
      const next = there?.[clamp(to[1], 0, there.length - 1)];
      if (next) reach(next.point, true);
    } else return;
    event.preventDefault();
  });

  // ------------------------------------------------------------------------- from outside

  const mark = () => {
    for (const { element: one, point } of cells.values()) {
      aria(one, "selected", chosen.includes(point));
    }
  };
  const draw = (next: Look = look) => {
    look = next;
    const [w = 0, h = 0] = box();
    vary(element, "w", `${Math.max(w, NARROWEST)}px`);
    vary(element, "h", `${h}px`);
    build();
    mark();
    show();
    const names = store.axes.map(({ name }) => name).join(", ");
    aria(element, "label", names ? `Images by ${names}` : "Images");
  };
  const resized = new ResizeObserver(() => {
    if (isFlow()) draw();
  });
  resized.observe(scroller);

  return {
    element: scroller,
    draw,
    /** Shows these points as they are now, all of them without a list. */
    show(points?: readonly number[]) {
      // The range of a score may have changed, and with it every bar. A sorted grid stays as it is:
      // cells that jump while one looks at them cannot be read.
      show(look.score < 0 ? points : undefined);
    },
    choose(points: readonly number[]) {
      chosen = points;
      mark();
    },
    remove() {
      sight.disconnect();
      resized.disconnect();
    },
  };
}

/** The tabs of the third axis. */
export function tabs(pick: (tab: number) => void, panel: string) {
  const element = h("div", { class: "sdw-s-tabs sdw-choice", role: "tablist", hidden: true });
  let labels = "";
  let at = 0;
  const all = () => [...element.children] as HTMLElement[];
  const show = (tab: number) => {
    at = tab;
    all().forEach((one, i) => {
      aria(one, "selected", i === tab);
      one.tabIndex = i === tab ? 0 : -1;
    });
    all()[tab]?.scrollIntoView?.({ block: "nearest", inline: "nearest" });
  };
  on(element, "keydown", (event) => {
    const last = element.children.length - 1;
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || isShortcut(event)) return;
    event.preventDefault();
    pick(clamp(to, 0, last));
    all()[at]?.focus();
  });
  return {
    element,
    fill(name: string, values: readonly string[]) {
      const now = JSON.stringify([name, values]);
      if (now === labels) return;
      labels = now;
      aria(element, "label", name);
      element.replaceChildren(
        ...values.map((value, i) => {
          const attributes = { class: "sdw-button", role: "tab", dir: "auto" };
          const tab = h("button", attributes, worded(name, value));
          aria(tab, "controls", panel);
          on(tab, "click", () => pick(i));
          return tab;
        }),
      );
      show(Math.min(at, Math.max(values.length - 1, 0)));
    },
    show,
  };
}
