// The picture as it forms, what the run is doing, and the results so far.

import type { AnyModel, Render } from "@anywidget/types";
import { h, write } from "./lib/dom";
import {
  type Binary,
  bytes,
  type Frame,
  frame,
  Player,
  paint,
  size,
  thin,
  wipe,
} from "./lib/frames";
import { keepKeys } from "./lib/keys";
import { duration, fileName, level } from "./lib/words";
import { type Entry, strip } from "./panels/history";
import "./picture.css";

type State = "idle" | "loading" | "running" | "done" | "stopped" | "error";

interface Run {
  id: number;
  state: State;
  message: string; // one short line; an error's up to three
}

interface Picture {
  data: Binary;
  type: "image/png" | "image/jpeg";
  prompt: string;
  seed: number;
  label: string; // for those who cannot see it
}

/** The traits of the kernel's PictureView. The front end reads them and never writes one. */
export interface Model {
  run: Run;
  frame: Record<string, unknown>; // the newest frame, {} before the first
  pictures: Picture[]; // the result on show, one for each of its batch
  shape: [number, number]; // width and height of the pictures asked for
  history: Entry[];
  current: number; // id of the history entry on show
}

// A kernel that is only just starting is slow to answer; after the longer time none is there. In ms.
const SILENCE = {
  3000: "The kernel has not answered yet",
  15000: "No kernel answers: it is busy, or this is a saved view. Run the cell again.",
};
const STOP_ANSWERED_WITHIN = 1000; // ms
const FRAMES_OF_A_RUN = 8_000_000; // bytes kept to look back at
const FRAMES_OF_ALL = 24_000_000; // those of the results in the history too

class PictureView {
  readonly #model: AnyModel<Model>;
  readonly #el: HTMLElement;
  readonly #player = new Player();
  readonly #undo: (() => void)[] = [];
  #root: HTMLElement | null = null; // the Studio around this view, once it is there
  #run: Run = { id: 0, state: "idle", message: "" };
  #frames: Frame[] = []; // of this run, as far as this page has seen and kept them
  #owner = 0; // id of the run that they are of
  #count = 0; // of the frames of this run that were shown
  #seen = 0; // the last step that came, shown or waiting
  readonly #earlier = new Map<number, Frame[]>(); // of the results in the history, by id
  #newest = 0; // when the newest frame came, ms
  #whole: { id: number; pictures: Picture[] } | undefined; // files the traits hold smaller ones of
  #stopping: "asked" | "heard" | "unheard" | undefined; // since a click on Stop
  #urls: string[] = [];

  readonly #preview = h("canvas", {
    class: "sdw-preview",
    role: "img",
    "aria-label": "no picture",
  });
  readonly #results = h("div", { class: "sdw-results" });
  readonly #hint = h("p", { class: "sdw-hint" }, "The picture comes here");
  readonly #noisy = h("canvas", { class: "sdw-small", role: "img", "aria-label": "noisy" });
  readonly #clean = h("canvas", { class: "sdw-small", role: "img", "aria-label": "clean so far" });
  readonly #step = h("dd", {}, "–");
  readonly #sigma = h("dd", {}, "–");
  readonly #each = h("dd", {}, "–");
  readonly #left = h("dd", {}, "–");
  readonly #status = h("p", { class: "sdw-status", role: "status" });
  readonly #error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  readonly #where = h("span", {}, "");
  readonly #advice = h("span", {}, "");
  readonly #progress = h("progress", { class: "sdw-progress", "aria-label": "progress", max: 1 });
  readonly #scrub = h("input", { class: "sdw-scrub", type: "range", min: 1, max: 1, value: 1 });
  readonly #download = h("button", { type: "button", class: "sdw-download" }, "Download PNG");
  readonly #strip = strip((id) => this.#send({ kind: "recall", id }));

  constructor(model: AnyModel<Model>, el: HTMLElement) {
    this.#model = model;
    this.#el = el;
    el.classList.add("sdw", "sdw-picture");
    this.#build();

    this.#on("change:run", () => this.#follow());
    this.#on("change:pictures", () => this.#showPictures());
    this.#on("change:shape", () => this.#reshape());
    this.#on("change:history", () => this.#showHistory());
    this.#on("change:current", () => this.#showCurrent());
    this.#on("msg:custom", (message, buffers) => this.#receive(message, buffers));
    this.#listen();
    this.#restore();
    this.#greet();
  }

  /** Undo everything: listeners, timers, object URLs. */
  remove() {
    for (const undo of this.#undo.splice(0)) undo();
    this.#player.clear();
    this.#strip.remove();
    this.#forgetPictures();
  }

  // -------------------------------------------------------------------------------- the page

  #build() {
    const named = (canvas: HTMLCanvasElement, words: string, letter: string, index: string) =>
      h(
        "figure",
        { class: "sdw-figure" },
        h("div", { class: "sdw-frame" }, canvas),
        h("figcaption", {}, `${words} `, h("i", {}, letter), h("sub", {}, index)),
      );
    const read = (words: string, value: HTMLElement, symbol = "") =>
      h("div", {}, h("dt", {}, words, ...(symbol ? [" ", h("i", {}, symbol)] : [])), value);

    this.#scrub.setAttribute("aria-label", "step on show");
    this.#el.replaceChildren(
      h(
        "div",
        { class: "sdw-body" },
        h(
          "div",
          { class: "sdw-left" },
          h("div", { class: "sdw-stage" }, this.#hint, this.#results, this.#preview),
          h("div", { class: "sdw-track" }, this.#scrub, this.#progress),
          h("p", { class: "sdw-caption", "aria-hidden": "true" }, this.#where, this.#advice),
        ),
        h(
          "div",
          { class: "sdw-side" },
          h(
            "div",
            { class: "sdw-pair" },
            named(this.#noisy, "noisy", "x", "t"),
            named(this.#clean, "clean so far", "x", "0"),
          ),
          h(
            "dl",
            { class: "sdw-numbers" },
            read("step", this.#step),
            read("noise", this.#sigma, "σ"),
            read("a step takes", this.#each),
            read("time left", this.#left),
          ),
          h("div", { class: "sdw-words" }, this.#status, this.#error),
          this.#download,
        ),
      ),
      this.#strip.element,
    );
  }

  #listen() {
    this.#download.addEventListener("click", () => this.#save());
    this.#scrub.addEventListener("input", () => {
      if (this.#active) this.#lookAtLast();
      else this.#look(Number(this.#scrub.value) - 1);
    });

    // The host puts this element into the page after render; then the Studio around it is known.
    const arrived = new ResizeObserver(() => this.#attach());
    arrived.observe(this.#el);
    const ticking = setInterval(() => this.#countDown(), 500);
    this.#undo.push(
      () => arrived.disconnect(),
      () => clearInterval(ticking),
    );
    this.#undo.push(keepKeys(this.#el));
  }

  #attach() {
    const root = this.#el.closest<HTMLElement>(".sdw-studio");
    if (root === null || root === this.#root) return;
    this.#root = root;
    root.classList.add("sdw");
    this.#undo.push(keepKeys(root, () => this.#generate()));
    const dice = root.querySelector(".sdw-dice");
    dice?.setAttribute("aria-label", dice.getAttribute("title") ?? "random seed");
    const stop = root.querySelector(".sdw-stop");
    const ask = () => this.#askToStop();
    stop?.addEventListener("click", ask);
    const changed = new MutationObserver(() => this.#describe());
    changed.observe(root, { subtree: true, attributeFilter: ["class"] });
    this.#undo.push(
      () => stop?.removeEventListener("click", ask),
      () => changed.disconnect(),
    );
    this.#describe();
    this.#mark();
  }

  /** Say of the controls, which are not ours, what their classes only show. */
  #describe() {
    for (const fold of this.#root?.querySelectorAll(".sdw-more, .sdw-look") ?? []) {
      fold.setAttribute("aria-expanded", String(fold.classList.contains("mod-active")));
    }
    const fields = ".sdw-row :is(input, textarea, select)";
    for (const field of this.#root?.querySelectorAll(fields) ?? []) {
      if (field.closest(".sdw-wrong")) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }

  /** Show the state on the elements that tests and styles look at. */
  #mark() {
    const { state } = this.#run;
    this.#el.dataset.state = state;
    if (this.#root === null) return;
    this.#root.dataset.state = state;
    const active = state === "running" || state === "loading";
    // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
    this.#root.querySelector(".sdw-generate")?.setAttribute("aria-disabled", String(active));
    this.#root.querySelector(".sdw-stop")?.setAttribute("aria-disabled", String(!active));
  }

  // ------------------------------------------------------------------------------- the kernel

  #on(name: string, handler: (...values: never[]) => void) {
    // anywidget types the names of events by trait; one loose signature serves them all here.
    const model = this.#model as unknown as Record<"on" | "off", (n: string, h: unknown) => void>;
    model.on(name, handler);
    this.#undo.push(() => model.off(name, handler));
  }

  #send(message: Record<string, unknown>) {
    this.#model.send(message);
  }

  /** Ask whether anyone is there: a saved notebook shows its last picture without a kernel. */
  #greet() {
    this.#send({ kind: "hello" });
    const timers = Object.entries(SILENCE).map(([after, words]) =>
      setTimeout(() => {
        this.#el.dataset.kernel = "silent";
        if (this.#run.state !== "error") write(this.#status, words);
      }, Number(after)),
    );
    this.#undo.push(() => timers.forEach(clearTimeout));
    this.#answered = () => {
      timers.forEach(clearTimeout);
      if (this.#el.dataset.kernel === "silent") this.#say();
      this.#el.dataset.kernel = "here";
    };
  }
  #answered = () => {};

  /** The button tells the kernel itself; here a person learns when it will act. */
  #askToStop() {
    if (!this.#active || this.#stopping !== undefined) return;
    this.#stopping = "asked";
    this.#send({ kind: "ping" }); // answered in turn, so after the click has been handled
    const timer = setTimeout(() => {
      if (this.#stopping !== "asked") return;
      this.#stopping = "unheard";
      this.#say();
    }, STOP_ANSWERED_WITHIN);
    this.#undo.push(() => clearTimeout(timer));
    this.#say();
  }

  #receive(message: unknown, buffers: Binary[] = []) {
    if (typeof message !== "object" || message === null) return;
    const { kind, ...rest } = message as Record<string, unknown>;
    this.#answered();
    if (kind === "frames" && Array.isArray(rest.frames)) {
      rest.frames.forEach((meta, i) => {
        this.#take(frame(meta, buffers[2 * i], buffers[2 * i + 1]));
      });
    } else if (kind === "pictures" && Array.isArray(rest.pictures)) {
      const current = this.#model.get("current");
      const id = typeof rest.id === "number" ? rest.id : current;
      const pictures = rest.pictures as Omit<Picture, "data">[];
      this.#whole = { id, pictures: pictures.map((p, i) => ({ ...p, data: bytes(buffers[i]) })) };
      if (id === current) this.#showPictures(); // else they wait: messages may overtake traits
    } else if (kind === "pong" && this.#stopping !== undefined) {
      this.#stopping = "heard";
      this.#say();
    }
  }

  #generate() {
    // A field tells the kernel its value when it changes, which is when it loses the focus.
    const field = document.activeElement;
    if (field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement) {
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
    this.#send({ kind: "generate" });
  }

  // ---------------------------------------------------------------------------------- the run

  /** A view made in the middle of things, or in a saved notebook, starts from the traits. */
  #restore() {
    this.#reshape();
    this.#showPictures();
    this.#showHistory();
    this.#run = this.#model.get("run");
    this.#begin();
    const saved = this.#model.get("frame");
    const last = frame(saved, saved?.noisy, saved?.clean);
    if (last?.run === this.#run.id) {
      this.#seen = last.step;
      this.#keep(last);
    }
    this.#settle();
  }

  #follow() {
    const run = this.#model.get("run");
    this.#answered();
    if (run.id !== this.#run.id) {
      this.#run = run;
      this.#begin();
    }
    // The end is shown after every frame that came before it.
    if (run.state === "running" || run.state === "loading") {
      this.#run = run;
      this.#settle();
    } else {
      this.#player.push(() => {
        if (run.id !== this.#run.id) return;
        this.#run = run;
        this.#settle();
      });
    }
  }

  /** Forget the run before. */
  #begin() {
    this.#player.clear();
    this.#frames = [];
    this.#owner = this.#run.id;
    this.#count = this.#seen = 0;
    this.#stopping = undefined;
    this.#el.dataset.frames = "0";
    this.#offerSteps();
    write(this.#where, "");
    for (const number of [this.#step, this.#sigma, this.#each, this.#left]) write(number, "–");
    for (const canvas of [this.#preview, this.#noisy, this.#clean]) wipe(canvas);
  }

  #take(next: Frame | undefined) {
    if (next === undefined || next.run !== this.#run.id) return;
    if (next.step <= this.#seen) return; // sent again, for another page
    this.#seen = next.step;
    this.#player.push(() => this.#keep(next));
  }

  #keep(next: Frame) {
    this.#frames.push(next);
    thin(this.#frames, FRAMES_OF_A_RUN);
    this.#newest = performance.now();
    this.#el.dataset.frames = String(++this.#count);
    this.#progress.value = next.step / next.steps;
    this.#lookAtLast();
  }

  #lookAtLast() {
    const count = this.#frames.length;
    this.#scrub.max = this.#scrub.value = String(count);
    this.#offerSteps();
    this.#look(count - 1);
  }

  /** The slider over the steps seen, where there are some and no run goes on. */
  #offerSteps() {
    const several = this.#frames.length > 1 && !this.#active;
    // Not hidden: it may have the focus, and the next keys would go to the notebook.
    this.#scrub.setAttribute("aria-disabled", String(!several));
    this.#scrub.tabIndex = several ? 0 : -1;
    write(this.#advice, several ? "drag to look back" : "");
  }

  /** Put the frame with that index on show; after the last of a finished run, the picture. */
  #look(index: number) {
    const shown = this.#frames[index];
    if (shown === undefined) return;
    paint(this.#preview, shown, "clean");
    paint(this.#noisy, shown, "noisy");
    paint(this.#clean, shown, "clean");
    const step = `step ${shown.step} of ${shown.steps}`;
    this.#preview.setAttribute("aria-label", `the picture forming, ${step}`);
    this.#noisy.setAttribute("aria-label", `noisy latents, ${step}`);
    this.#clean.setAttribute("aria-label", `clean latents so far, ${step}`);
    this.#scrub.setAttribute("aria-valuetext", `${step}, noise ${level(shown.sigma)}`);
    write(this.#where, step);
    write(this.#step, `${shown.step} of ${shown.steps}`);
    write(this.#sigma, level(shown.sigma));
    write(this.#each, duration(shown.seconds));
    const last = index === this.#frames.length - 1;
    if (!this.#active) write(this.#left, "–");
    else this.#countDown();
    const finished = !this.#active && this.#owner === this.#model.get("current");
    this.#el.dataset.show = finished && last && this.#hasPictures ? "picture" : "preview";
  }

  get #active() {
    return this.#run.state === "running" || this.#run.state === "loading";
  }

  get #hasPictures() {
    return this.#results.childElementCount > 0;
  }

  #countDown() {
    const last = this.#frames.at(-1);
    if (!this.#active || last === undefined) return;
    const since = (performance.now() - this.#newest) / 1000;
    write(this.#left, duration(Math.max(last.left - since, 0)));
  }

  /** Show the state of the run: what is on the stage, and what is said. */
  #settle() {
    const { id, state } = this.#run;
    if (state === "done") {
      const shown = this.#model.get("current");
      if (shown === id) this.#remember(id);
      else if (this.#frames.length === 0) {
        this.#frames = this.#earlier.get(shown) ?? []; // an earlier result was called back
        this.#owner = shown;
      }
    }
    // A run that failed leaves the picture before it; its steps go.
    if (state === "error" && this.#owner !== this.#model.get("current")) this.#begin();
    if (state === "idle" || state === "error") this.#el.dataset.show = "picture";
    else if (this.#frames.length === 0) this.#el.dataset.show = "picture";
    else this.#lookAtLast();
    if (this.#el.dataset.show === "picture" && !this.#hasPictures)
      this.#el.dataset.show = "nothing";

    if (this.#active && this.#frames.length === 0) this.#progress.removeAttribute("value");
    else if (!this.#active) this.#progress.value = 0;
    if (!this.#active) {
      write(this.#left, "–");
      this.#stopping = undefined;
    }
    this.#offerSteps();
    this.#say();
    this.#mark();
  }

  #remember(id: number) {
    this.#earlier.set(id, this.#frames);
    let kept = [...this.#earlier.values()].reduce((sum, frames) => sum + size(frames), 0);
    for (const [old, frames] of this.#earlier) {
      const few = this.#earlier.size <= this.#model.get("history").length + 1;
      if (old === id || (few && kept <= FRAMES_OF_ALL)) break;
      kept -= size(frames);
      this.#earlier.delete(old);
    }
  }

  #say() {
    const { state, message } = this.#run;
    write(this.#status, state === "error" ? "" : this.#stopWords() || message);
    write(this.#error, state === "error" ? message : "");
  }

  #stopWords() {
    if (this.#stopping === undefined || !this.#active) return "";
    if (this.#stopping === "unheard") return "Stopping when the cell has ended";
    if (this.#run.state === "loading") return "Stopping once the model is loaded";
    return "Stopping after this step";
  }

  // --------------------------------------------------------------------------------- pictures

  #reshape() {
    const [width, height] = this.#model.get("shape");
    this.#el.style.setProperty("--sdw-shape", `${width} / ${height}`);
    this.#el.style.setProperty("--sdw-wide", width >= height ? "100%" : "auto");
    this.#el.style.setProperty("--sdw-high", width >= height ? "auto" : "100%");
  }

  #pictures: Picture[] = [];

  #showPictures() {
    const whole = this.#whole?.id === this.#model.get("current") ? this.#whole.pictures : undefined;
    const pictures = whole ?? this.#model.get("pictures");
    this.#forgetPictures();
    this.#pictures = pictures;
    const columns = Math.ceil(Math.sqrt(pictures.length));
    this.#results.style.setProperty("--sdw-columns", String(Math.max(columns, 1)));
    this.#results.replaceChildren(
      ...pictures.map((picture) => {
        const blob = new Blob([new Uint8Array(bytes(picture.data))], { type: picture.type });
        const url = URL.createObjectURL(blob);
        this.#urls.push(url);
        return h("img", { src: url, alt: picture.label });
      }),
    );
    const all = pictures.every((picture) => picture.type === "image/png");
    write(this.#download, all ? "Download PNG" : "Download JPEG");
    this.#download.title = all
      ? "The picture with its settings inside"
      : "A smaller copy, without its settings";
    this.#download.setAttribute("aria-disabled", String(pictures.length === 0));
  }

  #forgetPictures() {
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
  }

  #save() {
    this.#pictures.forEach((picture, i) => {
      const href = this.#urls[i];
      if (href === undefined) return;
      const download = fileName(picture.prompt, picture.seed, picture.type);
      h("a", { href, download }).click();
    });
  }

  #showCurrent() {
    if (this.#whole?.id === this.#model.get("current")) this.#showPictures();
    this.#showHistory();
  }

  #showHistory() {
    this.#strip.show(this.#model.get("history"), this.#model.get("current"));
  }
}

const render: Render<Model> = ({ model, el }) => {
  const view = new PictureView(model, el);
  return () => view.remove();
};

export default { render };
