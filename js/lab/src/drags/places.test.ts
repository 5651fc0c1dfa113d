import { beforeEach, expect, test } from "vitest";
import { attaches, mark, type Place, placeAt } from "./places";

/** A notebook of three cells, the second of Markdown, and a Studio in the first. */
const page = document.createElement("div");
const element = (className: string, parent: Element) => {
  const made = document.createElement("div");
  made.className = className;
  parent.append(made);
  return made;
};
let cells: HTMLElement[];
let studio: HTMLElement;
let footer: HTMLElement;
let model: { readOnly: boolean; defaultKernelLanguage: string };
let notebooks: Parameters<typeof placeAt>[1];

beforeEach(() => {
  page.replaceChildren();
  document.body.replaceChildren(page);
  const node = element("jp-Notebook", page);
  node.getBoundingClientRect = () => ({ left: 100, right: 500 }) as DOMRect;
  const kinds = ["jp-CodeCell", "jp-MarkdownCell", "jp-RawCell"];
  cells = kinds.map((kind) => element(`jp-Cell ${kind}`, node));
  studio = element("sdw-studio", cells[0] as HTMLElement);
  studio.dataset.takes = "image record settings";
  footer = element("jp-Notebook-footer", node);
  model = { readOnly: false, defaultKernelLanguage: "python" };
  const content = { node, model, widgets: cells.map((cell) => ({ node: cell })) };
  const panels = [{ content }];
  notebooks = { find: (fits: never) => panels.find(fits) } as never;
});

const at = (target: Element, clientX = 300) => placeAt({ target, clientX } as never, notebooks);

test("a widget that takes files is a place of its own", () => {
  expect(at(element("field", studio))).toEqual({ kind: "widget", root: studio });
});

test("in a notebook, the place is before the cell, or at the end", () => {
  expect(at(element("prompt", cells[1] as Element))).toMatchObject({ index: 1, cell: cells[1] });
  expect(at(footer)).toMatchObject({ kind: "notebook", index: 3, cell: cells[2] });
});

test("elsewhere, and at the edges where JupyterLab splits its main area, nothing is taken", () => {
  expect(at(page)).toBeUndefined();
  expect([at(footer, 110), at(footer, 490)]).toEqual([undefined, undefined]);
  expect(placeAt({ target: footer, clientX: 300 } as never, null)).toBeUndefined();
});

test("neither are cells where they would not run", () => {
  model.readOnly = true;
  expect(at(footer)).toBeUndefined();
  model.readOnly = false;
  for (const [language, taken] of [
    ["R", false],
    ["julia", false],
    ["", true],
    ["ipython", true],
  ] as const) {
    model.defaultKernelLanguage = language;
    expect(at(footer) !== undefined).toBe(taken);
  }
});

test("images are attached to Markdown and raw cells, but not below them", () => {
  const places = [...cells, footer].map((one) => at(one)) as Place[];
  expect(places.map(attaches)).toEqual([false, true, true, false]);
  expect(attaches(at(studio) as Place)).toBe(false);
});

test("a place is marked until it is left", () => {
  const marked = () => [...document.querySelectorAll(".jp-mod-dropTarget, .sdw-mod-dropEnd")];
  const leave = mark(at(cells[1] as Element) as Place);
  expect(marked()).toEqual([cells[1]]);
  expect(cells[1]?.classList.contains("jp-mod-dropTarget")).toBe(true);
  leave();
  const end = mark(at(footer) as Place);
  expect(cells[2]?.classList.contains("sdw-mod-dropEnd")).toBe(true);
  end();
  expect(marked()).toEqual([]);
  const out = mark(at(studio) as Place);
  expect(studio.hasAttribute("data-dropping")).toBe(true);
  out();
  expect(studio.hasAttribute("data-dropping")).toBe(false);
});
