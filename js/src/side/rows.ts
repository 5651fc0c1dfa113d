// A list of any length: only the rows in view are in the page, and the whole list is a tab stop.

import { h, on } from "../lib/dom";
import { clamp } from "../lib/numbers";

export interface Row<T> {
  element: HTMLElement;
  /** What the arrow keys reach. */
  stop: HTMLElement;
  show(item: T): void;
}

const BEYOND = 6; // rows above and below those in view

/**
 * `key` names an item: it keeps its row, and so the focus, while the items change. Every row is
 * `height` pixels high; at most `most` of them are in view.
 */
export function rows<T>(
  label: string,
  key: (item: T) => string,
  make: (item: T) => Row<T>,
  height: number,
  most: number,
) {
  const room = h("div", { class: "sdw-side-room", role: "rowgroup" });
  const element = h("div", { class: "sdw-side-rows", role: "grid", "aria-label": label }, room);
  const made = new Map<string, Row<T>>();
  let items: readonly T[] = [];
  let stop = 0; // the index that Tab reaches

  const rowAt = (index: number) => {
    const item = items[index];
    return item === undefined ? undefined : made.get(key(item));
  };
  const inView = () => {
    const first = Math.floor(element.scrollTop / height) - BEYOND;
    return [Math.max(first, 0), first + 2 * BEYOND + most + 1] as const;
  };

  function draw() {
    const [from, to] = inView();
    const wanted = new Map<string, number>();
    items.forEach((item, index) => {
      // The tab stop stays in the page, wherever the list is scrolled to.
      if ((index >= from && index < to) || index === stop) wanted.set(key(item), index);
    });
    const focused = document.activeElement;
    for (const [name, row] of made) {
      if (wanted.has(name)) continue;
      row.element.remove();
      made.delete(name);
    }
    for (const [name, index] of wanted) {
      const item = items[index] as T;
      const row = made.get(name) ?? make(item);
      if (!made.has(name)) {
        made.set(name, row);
        room.append(row.element);
      }
      row.show(item);
      row.element.style.top = `${index * height}px`;
      row.element.setAttribute("aria-rowindex", String(index + 1));
      row.stop.tabIndex = index === stop ? 0 : -1;
    }
    // In the order in which they are read.
    const ordered = [...wanted].sort((a, b) => a[1] - b[1]);
    const elements = ordered.map(([name]) => (made.get(name) as Row<T>).element);
    if (elements.some((one, i) => room.children[i] !== one)) {
      room.replaceChildren(...elements);
      if (focused instanceof HTMLElement && room.contains(focused)) focused.focus();
    }
  }

  const reveal = (index: number) => {
    const [top, shown] = [index * height, element.clientHeight || most * height];
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + shown) element.scrollTop = top + height - shown;
  };
  const indexOf = (target: EventTarget | null) =>
    items.findIndex((_, index) => rowAt(index)?.element.contains(target as Node));

  on(element, "scroll", draw);
  on(element, "focusin", (event) => {
    const index = indexOf(event.target);
    if (index < 0 || index === stop) return;
    stop = index;
    draw();
  });
  on(element, "keydown", (event) => {
    const page = Math.max(Math.floor((element.clientHeight || most * height) / height) - 1, 1);
    const next = {
      ...{ ArrowDown: stop + 1, ArrowUp: stop - 1, Home: 0, End: items.length - 1 },
      ...{ PageDown: stop + page, PageUp: stop - page },
    }[event.key];
    if (next === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    stop = clamp(next, 0, Math.max(items.length - 1, 0));
    reveal(stop);
    draw();
    rowAt(stop)?.stop.focus();
  });

  return {
    element,
    show(next: readonly T[]) {
      const before = items[stop];
      const had = element.contains(document.activeElement);
      items = next;
      const at = before === undefined ? -1 : next.findIndex((item) => key(item) === key(before));
      stop = clamp(at < 0 ? stop : at, 0, Math.max(next.length - 1, 0));
      element.setAttribute("aria-rowcount", String(next.length));
      room.style.height = `${next.length * height}px`;
      element.style.height = `${Math.min(next.length, most) * height}px`;
      element.hidden = next.length === 0;
      draw();
      if (had && !element.contains(document.activeElement)) rowAt(stop)?.stop.focus();
    },
  };
}
