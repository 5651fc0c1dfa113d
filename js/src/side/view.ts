// The side panel: what a kernel's manager does, over a model that follows a kernel.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "../lib/choices";
import { SIDE, type SIDE_ASKS, SIDE_CONNECT } from "../lib/contract";
import { h, on, write } from "../lib/dom";
import type { Host } from "./host";
import { images } from "./images";
import { memory } from "./memory";
import { models } from "./models";
import { queue } from "./queue";
import { type Begun, imagesOf, jobsOf, type Link, memoryOf, modelsOf } from "./said";
import { allow } from "./section";
import "./side.css";

/** The traits of the model; the kernel's own are as it sent them. */
export interface Side {
  link: Link;
  busy: boolean; // the kernel is at work on a cell
  reachable: boolean; // it answers meanwhile
  place: string; // the notebook or console
  kernel: string; // its name for people
  chosen: number; // another number for every kernel that is followed
  begun: Begun;
  problem: string; // why sdwidgets did not begin
  v: number; // of the kernel's messages; 0 before it said
  version: string; // of sdwidgets there
  device: string;
  jobs: unknown;
  models: unknown;
  done: unknown;
  memory: unknown;
  images: unknown;
  refused: { about: string; message: string } | undefined;
}

/** What the page says to the model: to the kernel, or `begin`, to use sdwidgets there. */
export type Said = { kind: keyof typeof SIDE_ASKS | "begin" | "again" } & Record<string, unknown>;

/** Fills `el`; returns the cleanup. */
export function sideView(model: AnyModel<Side>, el: HTMLElement, host: Host): () => void {
  const { __ } = host.texts;
  const say = (message: Said) => quietly(() => model.send(message));

  const place = h("span", { class: "sdw-side-name", dir: "auto" });
  const kernel = h("span", { class: "sdw-side-what", dir: "auto" });
  const state = h("p", { class: "sdw-side-said", role: "status" });
  const code = h("code", "sdw-side-code");
  const begin = h("button", "sdw-button sdw-side-begin", "");
  const problem = h("p", { class: "sdw-error sdw-side-error", role: "alert", dir: "auto" });
  const begins = h("div", "sdw-side-begins", begin, h("p", "sdw-side-what", __("It runs:")), code);
  const away = h("div", "sdw-side-away", state, begins);
  const old = h("p", { class: "sdw-side-old", role: "status" });
  write(code, SIDE_CONNECT);
  on(begin, "click", () => {
    if (begin.getAttribute("aria-disabled") === "true") return;
    say({ kind: model.get("link") === "absent" ? "begin" : "again" });
  });

  const runs = queue(host, {
    stop: (job) => say({ kind: "stop", job }),
    move: (job, to) => say({ kind: "move", job, to }),
  });
  const known = models(host, {
    load: (name) => say({ kind: "load", name }),
    unload: (name) => say({ kind: "unload", name }),
    look: () => say({ kind: "models" }),
  });
  const room = memory(host);
  const last = images(host);
  const parts = h("div", "sdw-side-parts", runs.element, room.element, known.element, last.element);
  last.element.classList.add("sdw-side-last");
  el.classList.add("sdw", "sdw-side");
  el.replaceChildren(h("div", "sdw-side-top", place, kernel), old, problem, away, parts);

  // ----------------------------------------------------------------------------------- the state

  const words: Record<Link, string> = {
    nothing: __("Open a notebook or a console: this panel follows its kernel."),
    none: __("It has no kernel."),
    starting: __("The kernel is starting."),
    connecting: __("Connecting to the kernel."),
    restarting: __("The kernel is restarting."),
    disconnected: __("The connection to the kernel is lost."),
    dead: __("The kernel is dead. Restart it to go on."),
    foreign: __("Its kernel does not speak Python, and sdwidgets needs Python."),
    asking: __("Asking the kernel."),
    absent: __("sdwidgets is not in use in this kernel."),
    linked: "",
  };
  const said = (link: Link) => {
    const busy = model.get("busy");
    if (link === "asking" && busy) return __("The kernel is busy. It answers after the cell.");
    if (link !== "absent") return words[link];
    const begun = model.get("begun");
    if (begun === "asked") {
      return busy ? __("It begins after the cell that runs.") : __("Starting sdwidgets.");
    }
    if (begun === "missing") {
      return __("sdwidgets is not installed for this kernel. Install it there with: %1", PIP);
    }
    return words.absent;
  };

  const drawState = () => {
    const link = model.get("link");
    el.dataset.link = link;
    write(place, model.get("place") || __("No notebook"));
    const device = link === "linked" ? model.get("device") : "";
    const busy = link === "linked" && model.get("busy") && !model.get("reachable");
    const waits = busy ? __("busy: what you ask for waits for the cell") : "";
    write(kernel, [model.get("kernel"), device, waits].filter(Boolean).join(" · "));
    away.hidden = link === "linked";
    parts.hidden = link !== "linked";
    write(state, said(link));
    begins.hidden = link !== "absent";
    write(begin, __("Use sdwidgets in this kernel"));
    allow(begin, model.get("begun") !== "asked");
    const [v, version] = [model.get("v"), model.get("version")];
    const differs = link === "linked" && v !== 0 && v !== SIDE.v;
    const older = v < SIDE.v;
    write(
      old,
      !differs
        ? ""
        : older
          ? __(
              "The kernel's sdwidgets %1 is older than this panel. What it knows is shown.",
              version,
            )
          : __(
              "The kernel's sdwidgets %1 is newer than this panel. What both know is shown.",
              version,
            ),
    );
    const refused = link === "linked" ? model.get("refused")?.message : model.get("problem");
    write(problem, typeof refused === "string" ? refused : "");
  };

  const drawRefused = () => {
    if (model.get("refused") === undefined) return drawState();
    runs.refused();
    known.refused();
    drawState();
  };

  // ------------------------------------------------------------------------- following the model

  let chosen = model.get("chosen");
  const draws: Partial<Record<keyof Side, () => void>> = {
    jobs: () => runs.show(jobsOf(model.get("jobs"))),
    models: () => known.show(modelsOf(model.get("models")), model.get("done") === true),
    memory: () => room.show(memoryOf(model.get("memory"))),
    images: () => {
      if (model.get("chosen") !== chosen) last.forget();
      chosen = model.get("chosen");
      last.show(imagesOf(model.get("images")));
    },
    refused: drawRefused,
  };
  for (const name of STATE) draws[name] = drawState;
  draws.done = draws.models as () => void;
  const events = model as unknown as Record<"on" | "off", (name: string, act: () => void) => void>;
  for (const [name, act] of Object.entries(draws)) {
    act();
    events.on(`change:${name}`, act);
  }
  return () => {
    for (const [name, act] of Object.entries(draws)) events.off(`change:${name}`, act);
    known.remove();
    last.forget();
    el.replaceChildren();
  };
}

const PIP = "%pip install sdwidgets";

const STATE = [
  ...(["link", "busy", "reachable", "place", "kernel", "begun", "problem"] as const),
  ...(["v", "version", "device"] as const),
];
