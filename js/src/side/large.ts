// An image as large as its place, with what it was made from.

import type { AnyModel } from "@anywidget/types";
import { addressOf } from "../lib/bytes";
import { quietly } from "../lib/choices";
import { h, on, write } from "../lib/dom";
import { fileName } from "../lib/words";
import type { Host } from "./host";
import { titleOf } from "./images";
import type { Image } from "./said";
import type { Side } from "./view";
import "./large.css";

/** Fills `el`: with the thumbnail until the kernel brings the file. Returns the cleanup. */
export function large(
  model: AnyModel<Side>,
  el: HTMLElement,
  image: Image,
  host: Host,
  insert: (image: Image) => void,
): () => void {
  const { __ } = host.texts;
  const title = titleOf(host, image);
  let url = addressOf(image.thumbnail, "image/jpeg");
  const picture = h("img", { src: url, alt: title, "data-whole": "false" });
  const save = h("a", { class: "sdw-button", hidden: true }, __("Save the PNG"));
  const again = h("button", "sdw-button", __("Insert the cell that makes it again"));
  const about = h("p", { class: "sdw-large-about", dir: "auto" });
  const size = image.width > 0 ? `${image.width} × ${image.height}` : "";
  write(about, [title, image.model, size].filter(Boolean).join(" · "));
  on(again, "click", () => insert(image));
  el.classList.add("sdw", "sdw-large-image");
  el.replaceChildren(picture, h("div", "sdw-large-foot", about, save, again));

  const chosen = model.get("chosen");
  const events = model as unknown as Record<
    "on" | "off",
    (name: string, heard: (message: unknown, buffers?: readonly unknown[]) => void) => void
  >;
  const heard = (message: unknown, buffers: readonly unknown[] = []) => {
    const { kind, id } = Object(message) as Record<string, unknown>;
    if (kind !== "image" || id !== image.id || model.get("chosen") !== chosen) return;
    events.off("msg:custom", heard);
    URL.revokeObjectURL(url);
    url = addressOf(buffers[0], "image/png");
    picture.src = url;
    picture.dataset.whole = "true";
    save.href = url;
    save.download = fileName(image.prompt, image.seed ?? undefined, "image/png");
    save.hidden = false;
  };
  events.on("msg:custom", heard);
  quietly(() => model.send({ kind: "image", id: image.id }));
  return () => {
    events.off("msg:custom", heard);
    URL.revokeObjectURL(url);
    el.replaceChildren();
  };
}
