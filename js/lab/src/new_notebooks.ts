// Notebooks that the extension writes: into a folder of any drive, never over a file.

import type { Contents, KernelSpec, ServiceManager } from "@jupyterlab/services";
import { inFolder } from "./paths";
import type { Texts } from "./texts";

/** Why a notebook was not made, for people. */
export class NotMade extends Error {
  constructor(
    readonly title: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Cell {
  cell_type: string;
  source: string | string[];
  [field: string]: unknown;
}

export interface NotebookContent {
  cells: Cell[];
  metadata: Record<string, unknown>;
  nbformat: number;
  nbformat_minor: number;
}

/** Returns a folder as people are shown it: the top of the server's files has a name, too. */
export const shown = (folder: string) => (folder === "" ? "/" : folder);

/** Returns a notebook with a single cell. */
export function notebookOf(source: string): NotebookContent {
  const more = { metadata: {}, execution_count: null, outputs: [] };
  const cell = { cell_type: "code", id: "first", source, ...more };
  return { cells: [cell], metadata: {}, nbformat: 4, nbformat_minor: 5 };
}

/** Returns the first of name.ipynb, name_1.ipynb, name_2.ipynb, ... that is not taken. */
export function freeName(name: string, taken: ReadonlySet<string>): string {
  for (let count = 0; ; count++) {
    const file = count === 0 ? `${name}.ipynb` : `${name}_${count}.ipynb`;
    // Some file systems do not tell capitals from small letters.
    if (![...taken].some((other) => other.toLowerCase() === file.toLowerCase())) return file;
  }
}

/** Returns the default kernel if it is Python, or else the first one that is. */
export function pythonKernel(
  specs: KernelSpec.ISpecModels | null,
): KernelSpec.ISpecModel | undefined {
  const isPython = (spec: KernelSpec.ISpecModel | undefined) =>
    spec?.language.toLowerCase() === "python";
  const all = specs?.kernelspecs ?? {};
  const preferred = [all[specs?.default ?? ""], all.python3, ...Object.values(all)];
  return preferred.find(isPython);
}

/** Returns the notebook with this kernel in its metadata. */
export function withKernel(
  content: NotebookContent,
  spec: KernelSpec.ISpecModel | undefined,
): NotebookContent {
  if (spec === undefined) return content;
  const kernelspec = {
    name: spec.name,
    display_name: spec.display_name,
    language: spec.language,
  };
  return { ...content, metadata: { ...content.metadata, kernelspec } };
}

/** Whether `other`, which may be no notebook, has cells of the same types and texts. */
export function haveSameCells(one: NotebookContent, other: unknown): boolean {
  const found = (other as NotebookContent | undefined)?.cells;
  return Array.isArray(found) && texts(found) === texts(one.cells);
}

function texts(cells: readonly Cell[]): string {
  return JSON.stringify(cells.map((cell) => [cell?.cell_type, [cell?.source].flat().join("")]));
}

/** Returns the names in a folder. Throws `NotMade` if it cannot be read or written. */
export async function namesIn(
  folder: string,
  contents: Pick<Contents.IManager, "get">,
  trans: Texts,
): Promise<Set<string>> {
  let listing: Contents.IModel;
  try {
    listing = await contents.get(folder, { content: true });
  } catch (error) {
    throw notWritten(folder, reason(error), trans);
  }
  if (!listing.writable) {
    throw notWritten(folder, trans.__("it is read-only."), trans);
  }
  const content: { name: string }[] = listing.content ?? [];
  return new Set(content.map((file) => file.name));
}

/** Writes a notebook, and returns its path. Throws `NotMade` if it cannot be written. */
export async function write(
  folder: string,
  file: string,
  content: NotebookContent,
  contents: Pick<Contents.IManager, "save">,
  trans: Texts,
): Promise<string> {
  const path = inFolder(folder, file);
  try {
    await contents.save(path, { type: "notebook", format: "json", content });
  } catch (error) {
    throw notWritten(folder, reason(error), trans);
  }
  return path;
}

/**
 * Makes a notebook with a single cell, whose text may depend on the notebook's path; returns that
 * path. Throws `NotMade` if it cannot be written.
 */
export async function newNotebook(
  { contents, kernelspecs }: Pick<ServiceManager.IManager, "contents" | "kernelspecs">,
  folder: string,
  name: string,
  source: (path: string) => string,
  trans: Texts,
): Promise<string> {
  await kernelspecs.ready;
  const file = freeName(name, await namesIn(folder, contents, trans));
  const content = notebookOf(source(inFolder(folder, file)));
  const spec = pythonKernel(kernelspecs.specs);
  return write(folder, file, withKernel(content, spec), contents, trans);
}

function notWritten(folder: string, why: string, trans: Texts): NotMade {
  return new NotMade(
    trans.__("No notebook was made"),
    trans.__(
      "The folder %1 cannot be written: %2 Open another folder in the file browser and try again.",
      shown(folder),
      why,
    ),
  );
}

/** The text of an error, as a sentence. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
