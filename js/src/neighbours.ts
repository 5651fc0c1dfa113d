// The images that a model is shown as neighbours: thumbnails to add, to switch on and off, to remove.

import type { AnyModel, Render } from "@anywidget/types";
import { button } from "./lib/button";
import { addressOf, type Binary } from "./lib/bytes";
import type { ASKS } from "./lib/contract";
import { aria, h, on, write } from "./lib/dom";
import { opener, takeFiles } from "./lib/files";
import { isShortcut, keepKeys, roving } from "./lib/keys";
import { Saying } from "./lib/saying";
import "./neighbours.css";

export interface Item {
  id: number;
  on: boolean; // whether the model is shown it
  note: string; // its size
  thumbnail: Binary; // PNG
}

export interface Model {
  items: Item[];
  most: number; // that the model takes
  results: number; // whether there is a last result to add
  problem: string;
}

type Kind = (typeof ASKS)["neighbours"][number];

const render: Render<Model> = ({ model, el }) => {
  const saying = new Saying<Kind>(model, () => tell());
  const { say, ask } = saying;

  const send = opener(say, (message, data) => ask("file", message, data));
  let turn: Promise<unknown> = Promise.resolve();
  /** Sends a file after those before it. */
  const open = (file: File) => {
    turn = turn.then(() => send(file)).catch(() => {});
  };
  const input = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
  on(input, "change", () => {
    for (const file of input.files ?? []) open(file);
    input.value = ""; // so that the same file can be opened again
  });
  const add = button(
    "Add images…",
    "Choose, drop or paste images that the result is to resemble",
    () => input.click(),
  );
  const last = button("Add the last result", "Show the model its newest image, too", () =>
    ask("last"),
  );
  const none = button("All off", "Show the model none of them", () => ask("off"));
  const count = h("span", "sdw-near-note");
  const row = h("div", { class: "sdw-near-row", role: "toolbar" });
  aria(row, "label", "Neighbours");
  const oneTabStop = roving(row);
  const status = h("p", { class: "sdw-near-note", role: "status" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  el.classList.add("sdw", "sdw-near");
  el.replaceChildren(
    h(
      "div",
      "sdw-near-bar",
      h("span", "sdw-near-title", "neighbours"),
      add,
      input,
      last,
      none,
      count,
    ),
    row,
    status,
    error,
  );

  let shown: Item[] = [];
  const urls: string[] = [];
  const forget = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };
  const remove = ({ id }: Item) => {
    const place = shown.findIndex((item) => item.id === id);
    const next = shown[place + 1] ?? shown[place - 1];
    ask("drop", { id });
    if (next) toggle(next.id)?.focus();
    else add.focus();
  };
  const toggle = (id: unknown) => row.querySelector<HTMLElement>(`[data-id="${id}"]`) ?? undefined;
  const figure = (item: Item, number: number) => {
    const url = addressOf(item.thumbnail, "image/png");
    urls.push(url);
    const pressed = h(
      "button",
      {
        class: "sdw-thumb",
        title: `${item.note}: ${item.on ? "the model is shown it" : "switched off"}`,
        "aria-label": `Neighbour, ${item.note}${item.on ? `, number ${number}` : ""}`,
        "aria-pressed": String(item.on),
        "aria-keyshortcuts": "Delete",
      },
      h("img", { src: url, alt: "" }),
    );
    if (item.on)
      pressed.append(h("span", { class: "sdw-near-number", "aria-hidden": "true" }, `${number}`));
    pressed.dataset.id = String(item.id);
    on(pressed, "click", () => ask("use", { id: item.id, on: !item.on }));
    on(pressed, "keydown", (event) => {
      if (isShortcut(event) || !["Delete", "Backspace"].includes(event.key)) return;
      event.preventDefault();
      remove(item);
    });
    const away = h("button", { class: "sdw-near-away", title: "Remove", tabindex: -1 }, "×");
    aria(away, "label", `Remove the neighbour, ${item.note}`);
    on(away, "click", () => remove(item));
    return h("div", "sdw-near-item", pressed, away);
  };

  /** Shows what is said, the kernel's or the page's own. */
  function tell() {
    saying.write(status, error, model.get("problem"));
  }
  function show() {
    const items = model.get("items") ?? [];
    if (items !== shown) {
      const focused = (document.activeElement as HTMLElement | null)?.dataset.id;
      const inside = row.contains(document.activeElement);
      forget();
      let number = 0;
      row.replaceChildren(...items.map((item) => figure(item, item.on ? ++number : 0)));
      shown = items;
      if (inside) toggle(focused)?.focus();
      oneTabStop(toggle(focused));
    }
    const used = items.filter((item) => item.on).length;
    const most = model.get("most");
    write(count, items.length === 0 ? `none yet, at most ${most}` : `${used} of at most ${most}`);
    row.hidden = items.length === 0;
    none.hidden = used === 0;
    last.hidden = !model.get("results");
    tell();
  }
  const heard = () => {
    saying.answered();
    show();
  };
  show();
  model.on("change", heard);
  (model as AnyModel).on("msg:custom", heard); // the same file again changes nothing
  const letGo = takeFiles(el, open, undefined, true);
  const free = keepKeys(el);
  return () => {
    model.off("change", heard);
    (model as AnyModel).off("msg:custom", heard);
    saying.remove();
    letGo();
    free();
    forget();
  };
};

export default { render };
