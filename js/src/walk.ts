// A walk between prompts and seeds: its frames as a strip, a scrubber and an animation.

import type { AnyModel, Render } from "@anywidget/types";
import { addressOf, type Binary, bytes, isPng, saveFile } from "./lib/bytes";
import { WALK } from "./lib/contract";
import { choice } from "./lib/controls";
import { aria, h, on, svg, vary, write } from "./lib/dom";
import { Kernel } from "./lib/kernel";
import { isShortcut, keepKeys, roving } from "./lib/keys";
import { clamp } from "./lib/numbers";
import { PAUSE, PLAY } from "./panels/transport";
import { indexNear, nextIndex, ordered, type Shot, wordsOf } from "./walk/frames";
import "./walk.css";

/** The traits of the kernel's view of a walk. The page never sets one. */
export interface Model {
  uid: string;
  plan: { count?: number; legs?: number; loop?: boolean; stops?: [string, number][] };
  shots: Shot[];
  about: [string, string][];
  state: "idle" | "running" | "done" | "stopped" | "error";
  message: string;
}

const SPEEDS = ["4", "8", "16"] as const;
const TYPES: Record<string, string> = {
  ".webp": "image/webp",
  ".gif": "image/gif",
  ".mp4": "video/mp4",
};

const render: Render<Model> = ({ model, el }) => {
  const kernel = new Kernel(model as AnyModel, () => update());
  let at = 0; // the place on show
  let speed: (typeof SPEEDS)[number] = "8";
  let back = false; // whether it is played there and back
  let ahead = true;
  let timer: ReturnType<typeof setInterval> | undefined;
  let told = { words: "", wrong: false }; // of a file
  let stopping = false;

  // ---------------------------------------------------------------------------------- images

  const images = new Map<number, { of: unknown; address: string }>(); // by number of the shot
  const addressFor = (number: number): string => {
    const data = (model as AnyModel).get(`still${number}`) as Binary;
    const known = images.get(number);
    if (known?.of === data) return known.address;
    if (known) URL.revokeObjectURL(known.address);
    const file = bytes(data);
    const type = isPng(file) ? "image/png" : "image/jpeg";
    const address = file.length > 0 ? addressOf(file, type) : "";
    images.set(number, { of: data, address });
    return address;
  };

  // ------------------------------------------------------------------------------ the elements

  const picture = h("img", { class: "sdw-wk-picture", alt: "", draggable: false });
  const stage = h("div", "sdw-wk-stage", picture, h("p", "sdw-wk-hint", "The first frame is made"));
  const sign = svg("path");
  const icon = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
  icon.append(sign);
  const play = h("button", "sdw-button sdw-wk-play");
  play.append(icon);
  const slider = h("input", { type: "range", min: 0, max: 1, value: 0, step: 1 });
  aria(slider, "label", "frame on show");
  const pace = choice(
    "Frames a second",
    SPEEDS.map((value) => ({ value, label: [value], title: `${value} frames a second` })),
    (value) => {
      speed = value;
      if (timer) start();
      update();
    },
  );
  const turn = h("button", { class: "sdw-button", "aria-pressed": "false" }, "There and back");
  turn.title = "Play the way back, too";
  const unit = h("span", { class: "sdw-wk-unit", "aria-hidden": "true" }, "per second");
  const transport = h("div", "sdw-wk-transport", play, slider, pace.element, unit, turn);
  const caption = h("p", { class: "sdw-wk-caption", dir: "auto" });
  const strip = h("div", { class: "sdw-wk-strip", role: "toolbar", "aria-label": "Frames" });
  const oneTabStop = roving(strip);
  const list = h("dl", "sdw-wk-about");
  const details = h("details", {}, h("summary", {}, "Settings of this frame"), list);

  const run = h("button", "sdw-button sdw-wk-run");
  const status = h("p", { class: "sdw-wk-status", role: "status" });
  const progress = h("progress", { class: "sdw-progress", max: 1, value: 0 });
  aria(progress, "label", "progress of the walk");
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const saves = WALK.endings.map((ending) => {
    const button = h("button", { class: "sdw-button" }, ending.slice(1).toUpperCase());
    button.title = `Save the frames as an animation, ${ending}`;
    on(button, "click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      told = { words: `Making the ${ending} file`, wrong: false };
      kernel.send({ kind: "save", ending, fps: Number(speed), back });
      update();
    });
    return button;
  });
  const saving = h("div", { class: "sdw-wk-saves", role: "group", "aria-label": "Save as" });
  saving.append(h("span", { "aria-hidden": "true" }, "Save as"), ...saves);
  const foot = h("div", "sdw-wk-foot", run, status, saving);
  el.classList.add("sdw", "sdw-walk");
  el.replaceChildren(stage, transport, caption, strip, progress, foot, error, details);

  // ---------------------------------------------------------------------------------- moving

  const frames = () => ordered(model.get("shots"));
  const show = (index: number) => {
    const all = frames();
    at = all[clamp(index, 0, all.length - 1)]?.place ?? 0;
    update();
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
  };
  const move = (index: number) => {
    stop();
    show(index);
  };
  const tick = () => {
    const all = frames();
    const next = nextIndex(indexNear(all, at), all.length, ahead, back);
    ahead = next.ahead;
    show(next.index);
  };
  const start = () => {
    stop();
    timer = setInterval(tick, 1000 / Number(speed));
  };
  const toggle = () => {
    if (timer) stop();
    else if (frames().length > 1) start();
    update();
  };
  on(play, "click", toggle);
  on(turn, "click", () => {
    back = !back;
    update();
  });
  on(slider, "input", () => move(Number(slider.value)));
  on(run, "click", () => {
    if (run.getAttribute("aria-disabled") === "true") return;
    const active = model.get("state") === "running";
    stopping = active;
    kernel.send({ kind: active ? "stop" : "start" });
    update();
  });
  on(transport, "keydown", (event) => {
    const isButton = (event.target as Element).closest("button") !== null;
    if (isShortcut(event) || event.key !== " " || isButton) return;
    event.preventDefault();
    toggle();
  });

  // ------------------------------------------------------------------------------------- show

  const thumbs = new Map<number, HTMLButtonElement>(); // by number of the shot
  const drawStrip = (all: readonly Shot[], here: number) => {
    const stops = model.get("plan").stops ?? [];
    all.forEach((shot, i) => {
      let thumb = thumbs.get(shot.number);
      if (!thumb) {
        const image = h("img", { alt: "", draggable: false });
        thumb = h("button", { class: "sdw-wk-thumb", tabindex: -1 }, image);
        on(thumb, "click", () => move(indexNear(frames(), shot.place)));
        on(thumb, "focus", () => move(indexNear(frames(), shot.place)));
        thumbs.set(shot.number, thumb);
        const stop = Number.isInteger(shot.place) ? stops[shot.place % stops.length] : undefined;
        if (stop)
          thumb.append(h("span", { class: "sdw-wk-stop", dir: "auto" }, stopWords(stops, stop)));
        thumb.toggleAttribute("data-stop", stop !== undefined);
      }
      const image = thumb.firstElementChild as HTMLImageElement;
      const address = addressFor(shot.number);
      if (address && image.src !== address) image.src = address;
      aria(thumb, "label", `frame ${i + 1}: ${wordsOf(shot)}`);
      if (i === here) aria(thumb, "current", true);
      else thumb.removeAttribute("aria-current");
      if (strip.children[i] !== thumb) strip.insertBefore(thumb, strip.children[i] ?? null);
    });
    const shown = all[here] && thumbs.get(all[here].number);
    oneTabStop(shown);
    if (shown) reveal(strip, shown);
  };

  let described = "";
  const update = () => {
    const all = frames();
    const here = indexNear(all, at);
    const shot = all[here];
    const { count = 0 } = model.get("plan");
    const state = kernel.lost && model.get("state") === "running" ? "stopped" : model.get("state");
    const active = state === "running";
    stopping &&= active;
    const gone = kernel.lost || kernel.here === "silent";

    const address = shot ? addressFor(shot.number) : "";
    if (address && picture.src !== address) picture.src = address;
    picture.hidden = address === "";
    picture.alt = shot ? wordsOf(shot) : "";
    slider.max = String(Math.max(all.length - 1, 1));
    slider.value = String(here);
    const several = all.length > 1;
    aria(slider, "disabled", !several);
    aria(
      slider,
      "valuetext",
      shot ? `frame ${here + 1} of ${all.length}, ${wordsOf(shot)}` : "none",
    );
    const playing = timer !== undefined;
    aria(play, "disabled", !several);
    aria(play, "label", playing ? "pause" : "play the frames");
    play.title = playing ? "Pause (space)" : "Play (space)";
    sign.setAttribute("d", playing ? PAUSE : PLAY);
    pace.show(speed);
    aria(turn, "pressed", back);
    write(caption, shot ? wordsOf(shot) : "");
    drawStrip(all, here);

    const rows = [...(shot?.about ?? []), ...(model.get("about") ?? [])];
    const words = JSON.stringify(rows);
    if (words !== described) {
      described = words;
      list.replaceChildren(
        ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", { dir: "auto" }, text)]),
      );
    }
    details.hidden = !shot;

    write(run, active ? "Stop" : "Continue");
    run.hidden = state === "done";
    aria(run, "disabled", gone || stopping);
    progress.hidden = !active;
    progress.value = count > 0 ? all.length / count : 0;
    vary(progress, "over", progress.value);
    const asked = stopping ? "Stopping after this step" : kernel.silence;
    const file = told.wrong ? "" : told.words;
    write(status, file || asked || (state === "error" ? "" : model.get("message")));
    write(error, told.wrong ? told.words : state === "error" ? model.get("message") : "");
    for (const button of saves) aria(button, "disabled", gone || !several);
    el.dataset.state = state;
    el.dataset.frames = String(all.length);
    el.dataset.place = String(shot?.place ?? "");
  };

  const heard = (
    message: { kind?: string; ending?: string; message?: string },
    data: unknown[],
  ) => {
    if (message.kind === "file" && message.ending && data[0]) {
      const type = TYPES[message.ending] ?? "";
      saveFile(`walk${message.ending}`, type, data[0]);
      told = { words: `walk${message.ending} is saved`, wrong: false };
    } else if (message.kind === "trouble") {
      told = { words: message.message ?? "", wrong: true };
    }
    update();
  };
  const events = model as unknown as Record<"on" | "off", (name: string, call: unknown) => void>;
  const changed = () => {
    told = { words: "", wrong: false };
    update();
  };
  events.on("change", changed);
  events.on("msg:custom", heard);
  update();
  const forget = keepKeys(el);
  return () => {
    stop();
    forget();
    events.off("change", changed);
    events.off("msg:custom", heard);
    kernel.remove();
    for (const { address } of images.values()) URL.revokeObjectURL(address);
  };
};

/** What a stop is called: its words, or its seed where all have the same words. */
function stopWords(stops: readonly [string, number][], [prompt, seed]: [string, number]): string {
  const same = stops.every(([words]) => words === prompt);
  return same ? `seed ${seed}` : prompt || `seed ${seed}`;
}

/** Scrolls a row, and nothing around it, until one of its elements is within. */
function reveal(row: HTMLElement, one: HTMLElement) {
  const left = one.offsetLeft - row.offsetLeft;
  const right = left + one.offsetWidth;
  if (left < row.scrollLeft) row.scrollLeft = left;
  else if (right > row.scrollLeft + row.clientWidth) row.scrollLeft = right - row.clientWidth;
}

export default { render };
