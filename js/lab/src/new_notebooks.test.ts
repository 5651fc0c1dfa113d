import type { Contents, KernelSpec } from "@jupyterlab/services";
import { describe, expect, test, vi } from "vitest";
import {
  freeName,
  haveSameCells,
  type NotebookContent,
  NotMade,
  namesIn,
  newNotebook,
  pythonKernel,
  withKernel,
  write,
} from "./new_notebooks";
import type { Texts } from "./texts";

const trans = {
  __: (text: string, ...values: unknown[]) =>
    text.replace(/%(\d)/g, (_, index) => String(values[index - 1])),
} as Texts;

const notebook = (...sources: (string | string[])[]): NotebookContent => ({
  cells: sources.map((source) => ({ cell_type: "code", source })),
  metadata: { language_info: { name: "python" } },
  nbformat: 4,
  nbformat_minor: 5,
});

test("a name that is taken gets the next number", () => {
  expect(freeName("Studio", new Set(["studio.txt"]))).toBe("Studio.ipynb");
  expect(freeName("Studio", new Set(["studio.ipynb", "Studio_1.ipynb"]))).toBe("Studio_2.ipynb");
});

describe("the kernel", () => {
  const spec = (name: string, language: string) =>
    ({ name, language, display_name: name }) as KernelSpec.ISpecModel;
  const specs = (first: string, ...all: KernelSpec.ISpecModel[]) => ({
    default: first,
    kernelspecs: Object.fromEntries(all.map((each) => [each.name, each])),
  });
  const r = spec("ir", "R");
  const python = spec("python3", "python");
  const mine = spec("mine", "Python");

  test("is the default one if that is Python, or else one that is", () => {
    expect(pythonKernel(specs("mine", python, mine))).toBe(mine);
    expect(pythonKernel(specs("ir", r, mine, python))).toBe(python);
    expect(pythonKernel(specs("ir", r, mine))).toBe(mine);
    expect(pythonKernel(specs("ir", r))).toBeUndefined();
    expect(pythonKernel(null)).toBeUndefined();
  });

  test("is named in the notebook, beside what its metadata has", () => {
    const { metadata } = withKernel(notebook(), mine);
    expect(metadata).toEqual({
      language_info: { name: "python" },
      kernelspec: { name: "mine", display_name: "mine", language: "Python" },
    });
    expect(withKernel(notebook("a"), undefined)).toEqual(notebook("a"));
  });
});

test("notebooks are compared by the texts of their cells", () => {
  const one = notebook(["a\n", "b"], "c");
  const run = notebook("a\nb", "c");
  run.cells = run.cells.map((cell) => ({ ...cell, outputs: [{}], execution_count: 3 }));
  expect(haveSameCells(one, run)).toBe(true);
  expect(haveSameCells(one, notebook("a\nb"))).toBe(false);
  expect(haveSameCells(one, notebook("a\nb", "d"))).toBe(false);
  expect(haveSameCells(notebook("ab", "c"), notebook("a", "bc"))).toBe(false);
  for (const other of [undefined, "text", { cells: "text" }, { cells: [null, 3] }]) {
    expect(haveSameCells(one, other)).toBe(false);
  }
});

describe("a folder", () => {
  const contents = (listing: Partial<Contents.IModel> | Error) => ({
    get: vi.fn(async () => {
      if (listing instanceof Error) throw listing;
      return listing as Contents.IModel;
    }),
    save: vi.fn(async () => {
      throw new Error("Permission denied: Studio.ipynb");
    }),
  });

  test("is listed", async () => {
    const content = [{ name: "a.ipynb" }, { name: "b" }];
    const names = await namesIn("sub", contents({ writable: true, content }), trans);
    expect(names).toEqual(new Set(["a.ipynb", "b"]));
  });

  test.each([
    ["is read-only", { writable: false, content: [] }, "read-only"],
    ["cannot be read", new Error("No such directory"), "No such directory."],
  ])("that %s is refused with a reason", async (_, listing, why) => {
    const names = namesIn("sub", contents(listing), trans);
    await expect(names).rejects.toBeInstanceOf(NotMade);
    await expect(names).rejects.toThrow(/folder sub cannot be written/);
    await expect(names).rejects.toThrow(why);
  });

  test("that cannot be written is refused with a reason", async () => {
    const made = write("", "Studio.ipynb", notebook(), contents({}), trans);
    await expect(made).rejects.toThrow(/folder \/ cannot be written: Permission denied/);
  });
});

test("a notebook is written as a notebook", async () => {
  const save = vi.fn(async () => ({}) as Contents.IModel);
  const path = await write("sub", "a.ipynb", notebook("x"), { save }, trans);
  expect(path).toBe("sub/a.ipynb");
  const model = { type: "notebook", format: "json", content: notebook("x") };
  expect(save).toHaveBeenCalledExactlyOnceWith("sub/a.ipynb", model);
});

test("a new notebook has one cell, whose text may depend on where it is, and a Python kernel", async () => {
  const contents = {
    get: async () => ({ writable: true, content: [{ name: "Run.ipynb" }] }),
    save: vi.fn(async () => ({})),
  };
  const python = { name: "python3", display_name: "Python 3", language: "python" };
  const kernelspecs = {
    ready: Promise.resolve(),
    specs: { default: "python3", kernelspecs: { python3: python } },
  };
  const services = { contents, kernelspecs } as never;
  const path = await newNotebook(services, "sub", "Run", (own) => `# ${own}`, trans);
  expect(path).toBe("sub/Run_1.ipynb");
  const content = expect.objectContaining({
    cells: [expect.objectContaining({ cell_type: "code", source: "# sub/Run_1.ipynb" })],
    metadata: { kernelspec: python },
  });
  const saved = { type: "notebook", format: "json", content };
  expect(contents.save).toHaveBeenCalledWith(path, saved);
});
