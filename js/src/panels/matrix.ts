// Step by layer: where and when the network attended to the pinned word. Each cell opens its map.

import { aria, h, on, vary, write } from "../lib/dom";
import { columns, glance, imageAt, plain } from "../lib/heat";
import { isShortcut } from "../lib/keys";
import { clamp, times } from "../lib/numbers";
import type { Frame } from "../lib/reel";
import type { Header, Panel, View, What } from "../lib/view";
import { percent } from "../lib/words";
import "../attention.css";

const MOST_COLUMNS = 64; // the most frames of a reel
const NAME = "attention at its strongest";
const MEANING = "Attention to the word, averaged over its strongest tenth of the image";

type Glance = NonNullable<ReturnType<typeof glance>>;

interface Cell {
  element: HTMLElement;
  frame: Frame | undefined; // the source of `value`
  value: Glance | undefined;
}

let made = 0; // grids, whose cells have ids

/**
 * One cell per step and layer. Arrows move, Enter opens. A layer's name shows only that layer. The
 * grid has the focus and names its active cell: cells are too narrow to be targets of their own.
 */
export function matrix(view: View): Panel {
  const id = `sdw-matrix-${made++}`;
  const attributes = { class: "sdw-matrix-grid", role: "grid", "aria-label": NAME, tabindex: 0 };
  const grid = h("div", attributes);
  const cursor = h("div", { class: "sdw-matrix-cursor", "aria-hidden": "true" });
  const all = h("button", { class: "sdw-button sdw-matrix-all" }, "all layers");
  const hint = h("p", "sdw-matrix-hint");
  const read = h("p", "sdw-said");
  const element = h(
    "section",
    { class: "sdw-matrix", "aria-label": "Step by layer" },
    h(
      "div",
      "sdw-attention-header",
      h("p", { class: "sdw-title", title: NAME }, "step × layer"),
      all,
    ),
    h("div", "sdw-matrix-body", grid, hint),
    read,
  );
  let rows: { name: HTMLElement; cells: Cell[] }[] = [];
  let built: unknown; // the layers and columns of the rows
  let filled = ""; // the word and image of the values
  let most = 0; // the largest value
  let opened: HTMLElement | undefined;
  let active: [number, number] = [0, 0]; // row and column that arrows have reached

  const count = (header: Header) => Math.max(Math.min(header.steps, MOST_COLUMNS), 1);
  const columnOf = (frame: Frame, header: Header) =>
    Math.min(
      Math.floor((frame.index * count(header)) / Math.max(header.steps, 1)),
      count(header) - 1,
    );

  const open = (row: number, column: number) => {
    const frame = rows[row]?.cells[column]?.frame;
    if (frame) view.select({ layer: row, step: frame.index, span: "step" });
  };
  const reach = (row: number, column: number) => {
    const cell = () => rows[active[0]]?.cells[active[1]]?.element;
    cell()?.removeAttribute("data-active");
    active = [clamp(row, 0, rows.length - 1), clamp(column, 0, (rows[0]?.cells.length ?? 1) - 1)];
    cell()?.toggleAttribute("data-active", true);
    aria(grid, "activedescendant", cell()?.id ?? "");
  };
  const placeOf = (target: EventTarget | null): [number, number] | undefined => {
    const cell = target instanceof Element && target.closest<HTMLElement>(".sdw-cell");
    return cell ? [Number(cell.dataset.layer), Number(cell.dataset.column)] : undefined;
  };

  on(grid, "click", (event) => {
    const place = placeOf(event.target);
    if (!place) return;
    reach(...place);
    open(...place);
  });
  on(grid, "pointerover", (event) => say(placeOf(event.target)));
  on(grid, "pointerleave", () => say(undefined));
  on(grid, "focus", () => say(active));
  on(grid, "blur", () => say(undefined));
  on(grid, "keydown", (event) => {
    if (event.target !== grid || isShortcut(event)) return;
    const [row, column] = active;
    const to: [number, number] | undefined = {
      ArrowUp: [row - 1, column] as [number, number],
      ArrowDown: [row + 1, column] as [number, number],
      ArrowLeft: [row, column - 1] as [number, number],
      ArrowRight: [row, column + 1] as [number, number],
      Home: [row, 0] as [number, number],
      End: [row, Number.POSITIVE_INFINITY] as [number, number],
    }[event.key];
    if (to) {
      reach(...to);
      grid.querySelector("[data-active]")?.scrollIntoView({ block: "nearest" });
      say(active);
    } else if (event.key === "Enter" || event.key === " ") open(row, column);
    else return;
    event.preventDefault();
  });
  on(all, "click", () => view.select({ layer: -1, span: "run" }));

  /** Builds a row for each layer and a column for each step, in their final size. */
  const build = (header: Header) => {
    const now = JSON.stringify([
      header.run,
      count(header),
      header.layers.map(({ label }) => label),
    ]);
    if (now === built) return;
    built = now;
    filled = "";
    vary(grid, "columns", count(header));
    aria(grid, "colcount", count(header));
    rows = header.layers.map(({ label, name }, layer) => {
      const button = h(
        "button",
        { class: "sdw-matrix-name", title: name, "aria-pressed": "false" },
        h("span", {}, label),
        h("span", "sdw-matrix-size"),
      );
      on(button, "click", () => {
        const alone = view.selection.layer === layer && view.selection.span === "run";
        view.select({ layer: alone ? -1 : layer, span: "run" });
      });
      const cells = times(count(header), (column) => {
        const cell = h("div", {
          class: "sdw-cell",
          role: "gridcell",
          id: `${id}-${layer}-${column}`,
        });
        cell.dataset.layer = String(layer);
        cell.dataset.column = String(column);
        return { element: cell, frame: undefined, value: undefined };
      });
      return { name: button, cells };
    });
    grid.replaceChildren(
      ...rows.map(({ name, cells }) =>
        h(
          "div",
          { class: "sdw-matrix-row", role: "row" },
          h("div", { role: "rowheader" }, name),
          ...cells.map((cell) => cell.element),
        ),
      ),
      cursor,
    );
    reach(...active);
  };

  /** Fills in the values of new frames, or all values for another word. */
  const fill = (header: Header) => {
    const { reel, selection } = view;
    const which = imageAt(header, selection.picture);
    const picture = header.pictures[which];
    const now = JSON.stringify([selection.word, which]);
    most = 0;
    const anew = now !== filled;
    filled = now;
    const there = new Map(reel.frames.map((frame) => [columnOf(frame, header), frame]));
    for (const [layer, { name, cells }] of rows.entries()) {
      const [h_, w_] = reel.frames.at(-1)?.grids[layer] ?? [];
      if (h_ !== undefined) write(name.lastElementChild as HTMLElement, `${w_} × ${h_}`);
      for (const [column, cell] of cells.entries()) {
        const frame = there.get(column);
        if (anew || frame !== cell.frame) {
          cell.frame = frame;
          const tokens = frame && picture ? columns(picture, selection.word, frame.tokens) : [];
          cell.value = frame && tokens.length > 0 ? glance(frame, layer, which, tokens) : undefined;
          paint(cell, header.layers[layer]?.label ?? "");
        }
        most = Math.max(most, cell.value?.peak ?? 0);
      }
    }
    vary(grid, "most", Math.max(most, 1e-3).toFixed(4));
    if (!grid.contains(document.activeElement)) say(undefined);
  };

  const paint = ({ element: cell, frame, value }: Cell, label: string) => {
    vary(cell, "peak", (value?.peak ?? 0).toFixed(4));
    cell.toggleAttribute("data-value", value !== undefined);
    const step = frame ? `step ${frame.index}` : "no step yet";
    const words = value ? `: ${percent(value.peak)}\u00a0%` : "";
    aria(cell, "label", `${label}, ${step}${words}`);
  };

  /** Writes the numbers of a cell or, without one, their meaning. */
  const say = (place: [number, number] | undefined) => {
    const cell = place && rows[place[0]]?.cells[place[1]];
    const label = place && view.reel.header?.layers[place[0]]?.label;
    if (!cell?.frame || !cell.value) {
      write(read, most > 0 ? `${MEANING}: at most ${percent(most)}\u00a0%.` : `${MEANING}.`);
    } else {
      const { peak, mean } = cell.value;
      const here = `${label}, step ${cell.frame.index}`;
      const all = `${percent(mean)}\u00a0% over the whole image`;
      write(read, `${here}: ${percent(peak)}\u00a0% in its strongest tenth, ${all}.`);
    }
  };

  const mark = (header: Header) => {
    const { reel, selection } = view;
    const shown = reel.at(selection.step);
    const column = shown ? columnOf(shown, header) : -1;
    cursor.hidden = column < 0 || rows.length === 0;
    vary(cursor, "column", column);
    const { layers } = header.recipe;
    const everything = layers.length === 0 || layers.length === header.layers.length;
    write(all, everything ? "all layers" : "usual layers");
    const none = !header.layers[selection.layer];
    aria(all, "pressed", none);
    for (const [layer, { name }] of rows.entries()) {
      aria(name, "pressed", selection.layer === layer);
      name.toggleAttribute("data-counts", none && (everything || layers.includes(layer)));
    }
    opened?.removeAttribute("aria-selected");
    opened = selection.span === "step" ? rows[selection.layer]?.cells[column]?.element : undefined;
    opened?.setAttribute("aria-selected", "true");
  };

  const update = (what: What) => {
    if (what === "hover") return;
    const { header } = view.reel;
    const { word } = view.selection;
    const waiting = !header || header.layers.length === 0;
    write(
      hint,
      waiting ? "Steps and layers appear here" : word === "" ? "Click a word to fill this" : "",
    );
    aria(grid, "label", word ? `${NAME}: ${plain(word)}, step by layer` : NAME);
    element.dataset.word = word;
    element.dataset.waiting = String(waiting);
    if (!header) return;
    build(header);
    fill(header);
    mark(header);
  };
  say(undefined);
  update("data");
  return { element, update };
}
