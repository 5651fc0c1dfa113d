// The last images of the kernel, the newest first.

import { addressOf } from "../lib/bytes";
import { aria, h, on, write } from "../lib/dom";
import { clamp } from "../lib/numbers";
import type { Host } from "./host";
import type { Image } from "./said";
import { allow, iconButton, section } from "./section";

const FAR = 5; // pixels that the pointer moves before it drags

/** What an image is, in a line. */
export function titleOf(host: Host, image: Image): string {
  const { __ } = host.texts;
  const seed = image.seed === null ? "" : __("seed %1", image.seed);
  return [image.prompt || __("no prompt"), seed].filter(Boolean).join(" · ");
}

export function images(host: Host) {
  const { __ } = host.texts;
  const grid = h("div", { class: "sdw-side-images", role: "group", "aria-label": __("Images") });
  const caption = h("p", { class: "sdw-side-what", dir: "auto" });
  const enlarge = iconButton(host, "enlarge", __("Open large"), () => {
    const image = chosen();
    if (image) host.enlarge(image);
  });
  const insert = iconButton(host, "cell", __("Insert the cell that makes it again"), () => {
    const image = chosen();
    if (image) host.insert(image);
  });
  const foot = h("div", "sdw-side-foot", caption, enlarge, insert);
  const none = h("p", "sdw-side-note", __("The images of this kernel's runs appear here."));
  const body = h("div", "sdw-side-body", grid, none, foot);

  interface Thumb {
    element: HTMLButtonElement;
    url: string;
  }
  const thumbs = new Map<number, Thumb>();
  let shown: readonly Image[] = []; // newest first
  let chosenId: number | undefined;
  const chosen = () => shown.find(({ id }) => id === chosenId);

  const choose = (image: Image | undefined) => {
    chosenId = image?.id;
    for (const [id, { element }] of thumbs) {
      element.tabIndex = id === chosenId ? 0 : -1;
      if (id === chosenId) aria(element, "current", true);
      else element.removeAttribute("aria-current");
    }
    write(caption, image ? titleOf(host, image) : "");
    caption.title = image?.prompt ?? "";
    for (const button of [enlarge, insert]) allow(button, image !== undefined);
  };

  const thumb = (image: Image): Thumb => {
    const url = addressOf(image.thumbnail, "image/jpeg");
    const element = h(
      "button",
      {
        class: "sdw-thumb",
        "aria-label": titleOf(host, image),
        title: `${titleOf(host, image)}\n${__("Drag it into a notebook to make it again.")}`,
      },
      h("img", { src: url, alt: "", draggable: "false" }),
    );
    let pressed: PointerEvent | undefined;
    on(element, "focus", () => choose(image));
    on(element, "click", () => {
      choose(image);
      host.enlarge(image);
    });
    on(element, "pointerdown", (event) => {
      if (event.button !== 0) return;
      pressed = event;
      element.setPointerCapture?.(event.pointerId); // a fast pointer leaves it with its first move
    });
    on(element, "pointermove", (event) => {
      if (pressed === undefined || event.buttons === 0) return;
      const moved = Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
      if (moved < FAR) return;
      pressed = undefined;
      element.releasePointerCapture?.(event.pointerId);
      host.drag(image, element, event);
    });
    for (const name of ["pointerup", "pointercancel"] as const) {
      on(element, name, () => {
        pressed = undefined;
      });
    }
    return { element, url };
  };

  /** How many thumbnails are in a row. */
  const columns = () => {
    const top = (grid.children[0] as HTMLElement | undefined)?.offsetTop;
    const all = [...grid.children] as HTMLElement[];
    const second = all.findIndex(({ offsetTop }) => offsetTop !== top);
    return second < 0 ? all.length : second;
  };
  on(grid, "keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const at = shown.findIndex(({ id }) => id === chosenId);
    const next = {
      ...{ ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 },
      ...{ ArrowDown: at + columns(), ArrowUp: at - columns() },
    }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const image = shown[clamp(next, 0, shown.length - 1)];
    if (image) thumbs.get(image.id)?.element.focus();
  });
  choose(undefined);

  return {
    element: section(host, __("Last images"), body),
    show(next: readonly Image[]) {
      const had = grid.contains(document.activeElement);
      shown = [...next].reverse();
      const ids = new Set(shown.map(({ id }) => id));
      for (const [id, { element, url }] of thumbs) {
        if (ids.has(id)) continue;
        URL.revokeObjectURL(url);
        element.remove();
        thumbs.delete(id);
      }
      shown.forEach((image, index) => {
        const made = thumbs.get(image.id) ?? thumb(image);
        thumbs.set(image.id, made);
        if (grid.children[index] !== made.element) {
          grid.insertBefore(made.element, grid.children[index] ?? null);
        }
      });
      grid.hidden = foot.hidden = shown.length === 0;
      none.hidden = shown.length > 0;
      choose(chosen() ?? shown[0]);
      if (had && !grid.contains(document.activeElement) && chosenId !== undefined) {
        thumbs.get(chosenId)?.element.focus();
      }
    },
    /** Another kernel has other images, even of the same numbers. */
    forget() {
      for (const { element, url } of thumbs.values()) {
        URL.revokeObjectURL(url);
        element.remove();
      }
      thumbs.clear();
    },
  };
}
