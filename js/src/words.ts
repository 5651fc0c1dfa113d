// The line below the prompt: its tokens, and the words that the model knows. They complete what is
// typed, and replace what the model does not know.

import type { Render } from "@anywidget/types";
import { completion, typed } from "./lib/completion";
import { aria, h, on, write } from "./lib/dom";
import { insert, replaceWord, setText } from "./lib/field";
import { keepKeys } from "./lib/keys";
import { whenPlaced } from "./lib/placed";
import "./words.css";

export interface Model {
  count: string;
  groups: Record<string, string[]>; // by title; {} for a model that knows any word
  examples: string[];
  unknown: { word: string; nearest: string }[];
}

let made = 0; // for ids

const render: Render<Model> = ({ model, el }) => {
  const id = `sdw-words-${++made}`;
  const count = h("span", { class: "sdw-count", dir: "auto" });
  const unknown = h("span", { class: "sdw-unknown", role: "status" });
  const more = h(
    "button",
    { class: "sdw-words-more", "aria-expanded": "false", "aria-controls": id },
    "Words this model knows",
  );
  const list = h("div", { class: "sdw-words-list", id, hidden: true });
  el.classList.add("sdw", "sdw-known");
  el.replaceChildren(h("div", "sdw-words-line", count, unknown, more), list);

  let field: HTMLTextAreaElement | null = null;
  const chip = (words: string, title: string, act: (field: HTMLTextAreaElement) => void) => {
    const button = h("button", { class: "sdw-button sdw-word", title }, words);
    on(button, "click", () => {
      if (field) act(field);
    });
    return button;
  };
  // A click leaves the focus in the prompt, so that one can type on, and Ctrl-Z undoes it.
  on(el, "mousedown", (event) => {
    if (field !== null && document.activeElement === field) event.preventDefault();
  });
  on(more, "click", () => {
    list.hidden = !list.hidden;
    aria(more, "expanded", !list.hidden);
  });

  let marked = "";
  const mark = () => {
    const now = field && document.activeElement === field ? typed(field) : ""; // not ended yet
    const found = (model.get("unknown") ?? []).filter(({ word }) => word !== now);
    const key = JSON.stringify(found);
    if (key === marked) return; // a button is not replaced while it is pressed
    marked = key;
    const parts = found.map(({ word, nearest }) =>
      nearest
        ? chip(`${word} → ${nearest}`, `Replace “${word}” by “${nearest}”`, (prompt) =>
            replaceWord(prompt, word, nearest),
          )
        : h("span", { class: "sdw-unknown-word", dir: "auto" }, word),
    );
    unknown.replaceChildren(...(parts.length > 0 ? ["never taught:", ...parts] : []));
  };
  const fill = () => {
    const groups = Object.entries(model.get("groups") ?? {});
    more.hidden = groups.length === 0;
    if (more.hidden) list.hidden = true;
    const examples = (model.get("examples") ?? []).map((text) =>
      chip(text, "Use this prompt", (prompt) => setText(prompt, text)),
    );
    const row = (title: string, ...chips: Node[]) =>
      h(
        "div",
        "sdw-words-group",
        h("span", "sdw-words-title", title),
        h("div", "sdw-words-chips", ...chips),
      );
    const words = (group: string[]) =>
      group.map((word) =>
        chip(word, `Add “${word}” to the prompt`, (prompt) => insert(prompt, word)),
      );
    list.replaceChildren(
      ...(examples.length > 0 ? [row("try", ...examples)] : []),
      ...groups.map(([title, group]) => row(title, ...words(group))),
    );
  };
  const tell = () => write(count, model.get("count") ?? "");

  let end = () => {};
  const placed = whenPlaced(el, (root) => {
    field = root.querySelector<HTMLTextAreaElement>(".sdw-prompt textarea");
    if (field === null) return;
    const known = completion(field, el, () => Object.values(model.get("groups") ?? {}).flat());
    field.addEventListener("blur", mark);
    end = () => {
      known();
      field?.removeEventListener("blur", mark);
    };
  });
  fill();
  mark();
  tell();
  model.on("change:groups", fill);
  model.on("change:examples", fill);
  model.on("change:unknown", mark);
  model.on("change:count", tell);
  const free = keepKeys(el);
  return () => {
    model.off("change:groups", fill);
    model.off("change:examples", fill);
    model.off("change:unknown", mark);
    model.off("change:count", tell);
    placed();
    end();
    free();
  };
};

export default { render };
