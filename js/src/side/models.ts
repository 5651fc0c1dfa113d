// The models of the kernel's machine: what they are, and whether they are in memory.

import { h, on, write } from "../lib/dom";
import { bytesIn } from "../lib/words";
import type { Host, IconName } from "./host";
import { type Row, rows } from "./rows";
import type { Listed } from "./said";
import { allow, iconButton, section } from "./section";

export const ROW = 44; // pixels
const MOST = 8; // rows in view
const PATIENCE = 5000; // ms until a click counts as unheard

const ICONS: Partial<Record<Listed["state"], IconName>> = {
  refused: "refused",
  loaded: "loaded",
  part: "part",
};

export interface Asked {
  load(name: string): void;
  unload(name: string): void;
  look(): void;
}

export function models(host: Host, asked: Asked) {
  const { __, _n } = host.texts;
  const places: Record<Listed["place"], string> = {
    bundled: __("with sdwidgets"),
    hub: __("hub's cache"),
    folder: __("folder"),
    memory: __("in memory only"),
  };
  // Asked for, and not begun yet. A kernel that can do nothing about it may stay silent.
  const pending = new Map<string, ReturnType<typeof setTimeout>>();
  const settle = (name: string) => {
    clearTimeout(pending.get(name));
    pending.delete(name);
  };

  const about = (model: Listed) => {
    if (model.state === "refused") return model.why || __("cannot be loaded");
    if (model.state === "reading") return __("reading what it is…");
    if (model.why !== "" && model.state !== "part") return model.why;
    const size = model.bytes === null ? "" : bytesIn(model.bytes);
    // What it is comes first where that is the question.
    const said = model.state === "part" ? [model.what, size] : [size, model.what];
    return [...said, places[model.place]].filter(Boolean).join(" · ");
  };

  const row = (): Row<Listed> => {
    const mark = h("span", { class: "sdw-side-state", "aria-hidden": "true" });
    const title = h("span", { class: "sdw-side-name", dir: "auto" });
    const what = h("span", { class: "sdw-side-what", dir: "auto" });
    const button = h("button", "sdw-side-act");
    let now: Listed | undefined;
    on(button, "click", () => {
      if (now === undefined || button.getAttribute("aria-disabled") === "true") return;
      const { name, state } = now;
      if (state === "refused") return host.explain(now.title, now.why || __("cannot be loaded"));
      if (state === "part") return host.explain(now.title, `${now.what}.\n${now.why}`);
      settle(name);
      pending.set(name, setTimeout(forgetful(name), PATIENCE));
      if (state === "loaded") asked.unload(name);
      else asked.load(name);
      draw(now);
    });
    const element = h(
      "div",
      { class: "sdw-side-model", role: "row" },
      mark,
      h("div", { class: "sdw-side-lines", role: "gridcell" }, title, what),
      h("div", { role: "gridcell" }, button),
    );
    const draw = (model: Listed) => {
      const { state } = model;
      const icon = ICONS[state] ?? "model";
      if (mark.dataset.icon !== icon) mark.replaceChildren(host.icon(icon));
      mark.dataset.icon = icon;
      write(title, model.title);
      write(what, about(model));
      element.title = [model.title, about(model)].join("\n");
      element.dataset.state = state;
      const words = {
        found: __("Load"),
        loaded: __("Unload"),
        loading: __("Loading"),
        reading: __("Reading"),
        part: __("How?"),
        refused: __("Why?"),
      }[state];
      write(button, words);
      button.setAttribute("aria-label", `${words} ${model.title}`);
      allow(button, !["loading", "reading"].includes(state) && !pending.has(model.name));
    };
    return {
      element,
      stop: button,
      show(model) {
        if (now === undefined || now.state !== model.state || model.why !== now.why) {
          settle(model.name);
        }
        now = model;
        draw(model);
      },
    };
  };

  const list = rows<Listed>(__("Models"), ({ name }) => name, row, ROW, MOST);
  const field = h("input", {
    class: "sdw-side-filter",
    type: "search",
    placeholder: __("Filter models"),
    "aria-label": __("Filter models"),
    spellcheck: "false",
  });
  const note = h("p", { class: "sdw-side-note", role: "status" });
  const refresh = iconButton(host, "refresh", __("Look for models again"), asked.look);
  const body = h("div", "sdw-side-body", field, list.element, note);
  let known: readonly Listed[] = [];
  let complete = true;

  function draw() {
    const words = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = known.filter((model) => {
      const all = `${model.title} ${model.what} ${places[model.place]}`.toLowerCase();
      return words.every((word) => all.includes(word));
    });
    list.show(found);
    const left = known.filter(({ state }) => state === "reading").length;
    const some = words.length === 0 ? "" : __("%1 of %2 models", found.length, known.length);
    const parts = known.filter(({ state }) => state === "part").length;
    const count = known.length - parts;
    const more = parts > 0 ? _n("%1 part or addition", "%1 parts and additions", parts) : "";
    const all = [_n("%1 model", "%1 models", count), more].filter(Boolean).join(" · ");
    const reading = left > 0 ? __("reading %1", left) : __("looking…");
    write(note, [some || all, complete ? "" : reading].filter(Boolean).join(" · "));
  }
  const forgetful = (name: string) => () => {
    pending.delete(name);
    draw();
  };
  on(field, "input", draw);
  on(field, "keydown", (event) => {
    if (event.key !== "Escape" || field.value === "") return;
    field.value = "";
    draw();
  });

  return {
    element: section(host, __("Models"), body, refresh),
    show(next: readonly Listed[], done: boolean) {
      known = next;
      complete = done;
      draw();
    },
    /** Something that was asked for is refused. */
    refused() {
      for (const name of [...pending.keys()]) settle(name);
      draw();
    },
    remove() {
      for (const name of [...pending.keys()]) settle(name);
    },
  };
}
