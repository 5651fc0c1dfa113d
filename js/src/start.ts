// The image that the Studio's runs start from: opened, dropped or pasted, shown, and removed.

import type { AnyModel, Render } from "@anywidget/types";
import { begins, picture as preview } from "./lib/beginning";
import { button } from "./lib/button";
import { addressOf, type Binary, bytes } from "./lib/bytes";
import { type ASKS, FITS } from "./lib/contract";
import { aria, h, on, write } from "./lib/dom";
import { opener, takeFiles } from "./lib/files";
import { ENDING, inside, isRecord, type More, type Place } from "./lib/inside";
import { LOST } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { whenPlaced } from "./lib/placed";
import { Saying } from "./lib/saying";
import { blobSource } from "./lib/source";
import "./start.css";

export interface Model {
  thumbnail: Binary; // PNG; empty without an image
  note: string; // its size, and what is done to it
  masked: string; // how much of it is painted over, in words
  painting: boolean; // whether the Painter is open
  results: number; // to start from and to compare, at most 2
  words: string[]; // of the last result, which can be masks
  reshaped: boolean; // whether it has another shape than the images to come
  strength: number;
  steps: number; // of the grid; 0 where the strength takes none of them away
  levels: number[]; // sigma around the steps; [] as long as they are not known
  cells: number[]; // [w, h] of the previews; [] without them
  clean: Binary; // [h, w, 3] of the image, and of the noise on it; see BEGINNING
  noise: Binary;
  base: number[]; // the constant of both
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
  const saying = new Saying<Kind>(model, () => show());
  const { say, ask } = saying;

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
  /** Takes over the settings of a run, with all that it was given, which goes first. */
  const restore = async (made: unknown, image?: File, mask?: File, more: [More, File][] = []) => {
    newest = made;
    const sent = image !== undefined && (await send(image));
    const masked = sent && mask !== undefined && (await send(mask, true));
    const came: string[] = [];
    for (const [{ name, shape }, file] of more)
      if (await send(file, false, { of: name, ...(shape && { shape }) })) came.push(name);
    if (newest === made) ask("settings", { made, image: sent, mask: masked, came });
  };
  const openRecord = async (file: File) => {
    newest = file;
    say(`Opening ${file.name}`, false);
    const found = await inside(blobSource(file)).catch(() => undefined);
    if (newest !== file) return;
    if (found?.kind !== "record") return say(`${file.name} is no recorded run, or is damaged.`);
    const cut = (at: Place) => new File([file.slice(at.from, at.to)], "image.png");
    const [image, mask] = [found.image, found.mask].map((at) => at && cut(at));
    const more = found.more.map((one): [More, File] => [one, cut(one)]);
    void restore(found.made, image, mask, more);
  };
  const open = (file: File) => {
    if (saying.lost) return say(LOST);
    if (isRecord(file.name)) return void openRecord(file);
    newest = file;
    void send(file);
  };

  // ------------------------------------------------------------------------------- the image

  const picture = h("img", { class: "sdw-start-thumb", alt: "the image to start from" });
  const note = h("p", "sdw-start-note");
  const slider = h("input", { type: "range", min: 0.05, max: 1, step: 0.05 });
  const value = h("output", {});
  const label = h("label", {}, "strength", slider, value);
  label.title = "How much of the image changes: 1 is everything, near 0 almost nothing";
  const where = h("span", "sdw-start-note sdw-start-where");
  const noisy = h("canvas", { class: "sdw-start-thumb", "aria-hidden": "true" });
  noisy.title = "The image with the noise at which the run begins, as the latents show it";
  const strength = h("div", "sdw-start-strength", label, where);
  on(slider, "input", () => begin());
  on(slider, "change", () => ask("set", { name: "strength", value: Number(slider.value) }));
  /** Shows where a run of the slider's strength begins. */
  function begin() {
    const share = Number(slider.value);
    write(value, share.toFixed(2));
    const { at, words } = begins(model.get("steps") ?? 0, share, model.get("levels") ?? []);
    write(where, words);
    if (words) aria(slider, "valuetext", `${share.toFixed(2)}, ${words}`);
    const level = (model.get("levels") ?? [])[at];
    const [width = 0, height = 0] = model.get("cells") ?? [];
    noisy.hidden = level === undefined || width === 0;
    if (level === undefined || width === 0) return;
    [noisy.width, noisy.height] = [width, height];
    const [clean, noise] = [bytes(model.get("clean")), bytes(model.get("noise"))];
    const image = new ImageData(width, height);
    image.data.set(preview(clean, noise, model.get("base"), level));
    noisy.getContext("2d")?.putImageData(image, 0, 0);
  }
  const fit = h("select", {}, ...FITS.map((name) => h("option", { value: name }, SHAPING[name])));
  on(fit, "change", () => ask("set", { name: "fit", value: fit.value }));
  const shape = h("label", "sdw-start-fit", "other shape", fit);
  const remove = button("Start from noise", "Remove this image", () => {
    ask("drop");
    choose.focus();
  });
  const masked = h("span", "sdw-start-note");
  const unmask = button("Remove the mask", "Let all of the image change", () => {
    ask("unmask");
    paint.focus();
  });
  const mask = h("div", "sdw-start-mask", masked, unmask);
  const paint = button("", "Paint over what the run is to change, or drag an edge for more", () =>
    ask("paint"),
  );
  const last = button("Use the last result", "Start the next run from the newest image", () =>
    ask("last"),
  );
  const word = h("select", { "aria-label": "Mask from a word of the last result" });
  on(word, "change", () => word.value && ask("word", { word: word.value }));
  const change = button("The last change", "Where the last two results differ", () =>
    ask("change"),
  );
  const maps = h(
    "div",
    { class: "sdw-start-maps", role: "group", "aria-label": "Mask from" },
    "mask from",
    word,
    change,
  );
  const image = h(
    "div",
    "sdw-start-image",
    picture,
    noisy,
    h("div", "sdw-start-words", note, shape, mask),
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
  el.replaceChildren(choose, input, last, paint, remove, image, maps, offer, status, error);

  // ------------------------------------------------------------------------------------ show

  let url = "";
  let drawn: unknown;
  let share: number | undefined;
  let offered = "";
  /** A select that is in somebody's hand is not replaced. */
  function offerWords(words: string[]) {
    word.hidden = words.length === 0;
    if (words.join("\n") === offered) return;
    offered = words.join("\n");
    word.replaceChildren(
      h("option", { value: "" }, "a word…"),
      ...words.map((each) => h("option", { value: each }, each)),
    );
  }
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
    image.hidden = remove.hidden = paint.hidden = !there;
    const painting = model.get("painting");
    write(paint, painting ? "Close the painter" : "Paint a mask…");
    aria(paint, "expanded", painting);
    const results = model.get("results") ?? 0;
    last.hidden = results === 0;
    offerWords(model.get("words") ?? []);
    change.hidden = results < 2;
    maps.hidden = !painting || (word.hidden && change.hidden);
    write(note, model.get("note") ?? "");
    write(masked, model.get("masked") ?? "");
    mask.hidden = masked.textContent === "";
    shape.hidden = !model.get("reshaped");
    fit.value = model.get("fit");
    const now = model.get("strength");
    if (now !== share) {
      share = now; // not whenever something else changes: the slider may be in somebody's hand
      slider.value = String(share);
    }
    begin();
    const words = model.get("offer") ?? "";
    offer.hidden = words === "";
    write(found, words);
    saying.write(status, error, model.get("problem"), model.get("message"));
    write(choose, there ? "Another image…" : "Start image…");
    aria(el, "busy", saying.busy);
    el.toggleAttribute(
      "data-open",
      there || words !== "" || status.textContent !== "" || error.textContent !== "",
    );
  }
  const heard = () => {
    saying.answered();
    show();
  };
  show();
  model.on("change", heard);
  // The same file again changes nothing, so the kernel also says that it has taken a file.
  (model as AnyModel).on("msg:custom", heard);
  let letGo = () => {};
  const placed = whenPlaced(el, (root) => {
    root.tabIndex = -1; // a click anywhere in it brings the focus, so that one can paste
    letGo = takeFiles(root, open, (made, image) => void restore(made, image));
  });
  const free = keepKeys(el);
  return () => {
    model.off("change", heard);
    (model as AnyModel).off("msg:custom", heard);
    saying.remove();
    placed();
    letGo();
    free();
    forget();
  };
};

export default { render };
