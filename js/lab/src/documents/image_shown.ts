// An image beside the settings that its file has inside.

import "../../../src/theme.css";
import { addressOf } from "../../../src/lib/bytes";
import { h } from "../../../src/lib/dom";
import { about, RefusedRecord, settingsInImage, toldBy } from "../../../src/record";
import type { Texts } from "../texts";
import { table } from "./table";

interface Options {
  root: HTMLElement;
  data: Uint8Array;
  name: string;
  trans: Texts;
}

/** Shows an image; without settings inside, that is said in their place. */
export async function showImage({ root, data, name, trans }: Options) {
  const url = addressOf(data, "image/png"); // as an image, nothing in it can run
  const image = h("img", { src: url, alt: "" });
  const isImage = await image.decode().then(
    () => true,
    () => false,
  );
  const beside = h("section", { class: "sdw-doc-settings", "aria-label": trans.__("Settings") });
  root.classList.add("sdw-doc-image");
  const nothing = h("p", "sdw-doc-none", trans.__("This file holds no image that can be shown."));
  root.append(h("figure", {}, isImage ? image : nothing), beside);

  let made: unknown;
  try {
    const inside = await settingsInImage(data);
    const rows = about(toldBy(inside), [image.naturalWidth, image.naturalHeight]);
    const [, prompt = ""] = rows.find(([row]) => row === "prompt") ?? [];
    made = inside.record;
    image.alt = trans.__("the image for: %1", prompt);
    const given = inside.given.join(", ");
    if (given !== "") rows.push([trans.__("also given, not in the file"), given]);
    beside.append(h("h2", "sdw-title", trans.__("settings")), table(rows));
  } catch (error) {
    if (!(error instanceof RefusedRecord)) throw error;
    image.alt = name;
    const words = trans.__(
      "Images that a Studio, Trace.save_image or the download button of a viewer made have them.",
    );
    beside.append(h("p", { dir: "auto" }, error.message), h("p", "sdw-doc-none", words));
  }
  return { made, close: () => URL.revokeObjectURL(url) };
}
