// The image that the Studio's runs start from: opened, dropped or pasted, shown, and removed.

import type { AnyModel, Render } from "@anywidget/types";
import { addressOf, type Binary, bytes } from "./lib/bytes";
import { quietly } from "./lib/choices";
import { type ASKS, FITS } from "./lib/contract";
import { aria, h, on, write } from "./lib/dom";
import { opener, takeFiles } from "./lib/files";
import { ENDING, inside, isRecord } from "./lib/inside";
import { LOST, onConnection } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { whenPlaced } from "./lib/placed";
import { blobSource } from "./lib/source";
import "./start.css";

export interface Model {
  thumbnail: Binary; // PNG; empty without an image
  note: string; // its size, and what is done to it
  reshaped: boolean; // whether it has another shape than the images to come
  strength: number;
  fit: string;
  offer: string; // the settings in the last file, in words
  message: string;
  problem: string;
}

type Kind = (typeof ASKS)["start"][number];

const SHAPING: Record<(typeof FITS)[number], string> = {
  crop: "crop",
  pad: "pad",
  stretch: "stretch",
};

const render: Render<Model> = ({ model, el }) => {
  let said: { words: string; wrong: boolean } | undefined; // until the kernel answers
  let lost = false;
  const say = (words: string, wrong = true) => {
    said = { words, wrong };
    show();
  };
  const ask = (kind: Kind, more: object = {}, data: ArrayBuffer[] = []) => {
    if (lost) say(LOST);
    else quietly(() => model.send({ kind, ...more }, undefined, data));
  };
  const button = (words: string, title: string, act: () => void) => {
    const made = h("button", { class: "sdw-button", title }, words);
    on(made, "click", act);
    return made;
  };

  // ---------------------------------------------------------------------------- a file comes

  const input = h("input", { type: "file", accept: `image/*,${ENDING}`, hidden: true });
  const choose = button(
    "Start image…",
    "Start from an image: choose, drop or paste one. A PNG made here also holds its settings, as does a recorded run (.sdtrace)",
    () => input.click(),
  );
  on(input, "change", () => {
    const file = input.files?.[0];
    if (file) open(file);
    input.value = ""; // so that the same file can be opened again
  });
  const send = opener(say, (message, data) => ask("file", message, data));
  let newest: unknown;
  /** Takes over the settings of a run, with its start image, which goes first. */
  const restore = async (made: unknown, image?: File) => {
    newest = made;
    const sent = image !== undefined && (await send(image));
    if (newest === made) ask("settings", { made, image: sent });
  };
  const openRecord = async (file: File) => {
    newest = file;
    say(`Opening ${file.name}`, false);
    const found = await inside(blobSource(file)).catch(() => undefined);
    if (newest !== file) return;
    if (found?.kind !== "record") return say(`${file.name} is no recorded run, or is damaged.`);
    const { made, image } = found;
    void restore(made, image && new File([file.slice(image.from, image.to)], "image.png"));
  };
  const open = (file: File) => {
    if (lost) return say(LOST);
    if (isRecord(file.name)) return void openRecord(file);
    newest = file;
    void send(file);
  };

  // ------------------------------------------------------------------------------- the image

  const picture = h("img", { class: "sdw-start-thumb", alt: "the image to start from" });
  const note = h("p", "sdw-start-note");
  const slider = h("input", { type: "range", min: 0.05, max: 1, step: 0.05 });
  const value = h("output", {});
  const strength = h("label", "sdw-start-strength", "strength", slider, value);
  strength.title = "How much of the image changes: 1 is everything, near 0 almost nothing";
  on(slider, "input", () => write(value, Number(slider.value).toFixed(2)));
  on(slider, "change", () => ask("set", { name: "strength", value: Number(slider.value) }));
  const fit = h("select", {}, ...FITS.map((name) => h("option", { value: name }, SHAPING[name])));
  on(fit, "change", () => ask("set", { name: "fit", value: fit.value }));
  const shape = h("label", "sdw-start-fit", "other shape", fit);
  const remove = button("Start from noise", "Remove this image", () => {
    ask("drop");
    choose.focus();
  });
  const image = h(
    "div",
    "sdw-start-image",
    picture,
    h("div", "sdw-start-words", note, shape),
    strength,
  );

  // --------------------------------------------------------------- a file with settings inside

  const found = h("p", "sdw-start-found");
  const offer = h(
    "div",
    { class: "sdw-start-offer", role: "group", "aria-label": "A file with settings" },
    found,
    button("Restore its settings", "Prompt, seed and all other settings of that image", () =>
      ask("restore"),
    ),
    button("Start from it", "Start the next run from this image", () => ask("take")),
    button("Neither", "Leave everything as it is", () => ask("dismiss")),
  );
  const status = h("p", { class: "sdw-start-said", role: "status", dir: "auto" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  el.classList.add("sdw", "sdw-start");
  el.replaceChildren(choose, input, remove, image, offer, status, error);

  // ------------------------------------------------------------------------------------ show

  let url = "";
  let drawn: unknown;
  let share: number | undefined;
  const forget = () => URL.revokeObjectURL(url);
  function show() {
    const thumbnail = model.get("thumbnail");
    const there = bytes(thumbnail).length > 0;
    if (thumbnail !== drawn) {
      drawn = thumbnail;
      forget();
      url = there ? addressOf(thumbnail, "image/png") : "";
      if (there) picture.src = url;
      else picture.removeAttribute("src");
    }
    image.hidden = remove.hidden = !there;
    write(note, model.get("note") ?? "");
    shape.hidden = !model.get("reshaped");
    fit.value = model.get("fit");
    const now = model.get("strength");
    if (now !== share) {
      share = now; // not whenever something else changes: the slider may be in somebody's hand
      slider.value = String(share);
      write(value, share.toFixed(2));
    }
    const words = model.get("offer") ?? "";
    offer.hidden = words === "";
    write(found, words);
    write(status, said ? (said.wrong ? "" : said.words) : (model.get("message") ?? ""));
    write(error, said ? (said.wrong ? said.words : "") : (model.get("problem") ?? ""));
    write(choose, there ? "Another image…" : "Start image…");
    aria(el, "busy", said !== undefined && !said.wrong);
    el.toggleAttribute(
      "data-open",
      there || words !== "" || status.textContent !== "" || error.textContent !== "",
    );
  }
  const heard = () => {
    said = undefined;
    show();
  };
  show();
  model.on("change", heard);
  // The same file again changes nothing, so the kernel also says that it has taken a file.
  (model as AnyModel).on("msg:custom", heard);
  const leave = onConnection(model, (now) => {
    lost = now;
    if (lost && said && !said.wrong) say(LOST);
  });
  let letGo = () => {};
  const placed = whenPlaced(el, (root) => {
    root.tabIndex = -1; // a click anywhere in it brings the focus, so that one can paste
    letGo = takeFiles(root, open, restore);
  });
  const free = keepKeys(el);
  return () => {
    model.off("change", heard);
    (model as AnyModel).off("msg:custom", heard);
    leave();
    placed();
    letGo();
    free();
    forget();
  };
};

export default { render };
