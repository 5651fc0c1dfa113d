// What is done with a drop: cells that make runs again, files and settings for widgets.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Notification } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import type { ServiceManager } from "@jupyterlab/services";
import { making, NoCell, relative, viewing } from "../../../src/lib/cell";
import { refusal, SETTINGS_TYPE } from "../../../src/lib/files";
import { type Inside, inside, isRecord } from "../../../src/lib/inside";
import { blobSource, type Source } from "../../../src/lib/source";
import { wordsFor } from "../documents/said";
import { driveOf } from "../drives/drive";
import { openSource } from "../drives/source";
import { belowActive, insertCell } from "../inserting";
import { nameOf } from "../paths";
import type { Texts } from "../texts";
import type { Carried } from "./carried";

export interface Tools {
  services: ServiceManager.IManager;
  trans: Texts;
}

/** The bytes of a file of a drive, read in parts where it gives parts. Rejects if it cannot be read. */
async function bytesAt(path: string, services: ServiceManager.IManager): Promise<Source> {
  const options = { signal: new AbortController().signal, progress() {} };
  return (
    await openSource(
      driveOf(services, () => path),
      options,
    )
  ).source;
}

/** Whether a file of a drive says how it was made. Rejects if it cannot be read. */
export async function tells(path: string, { services }: Tools): Promise<boolean> {
  return (await inside(await bytesAt(path, services))) !== undefined;
}

/** Adds the cells that make these runs again to a notebook, before the cell with that index. */
export async function addCells(
  panel: NotebookPanel,
  index: number,
  carried: readonly Carried[],
  tools: Tools,
): Promise<void> {
  const { model } = panel.content;
  const before = model?.cells.get(index)?.id; // cells may be added while the file is read
  for (const one of carried) {
    const source = await refusing(one, tools, () => sourceOf(one, panel, tools));
    if (source === undefined || model === null || panel.isDisposed) continue;
    const at = [...model.cells].findIndex(({ id }) => id === before);
    const id = insertCell(panel, at < 0 ? model.cells.length : at, source);
    if (one.kind === "path" && isRecord(one.path)) offerToView(panel, id, one.path, tools);
  }
}

/** Adds the cells below the active one, and shows the notebook. */
export async function addBelow(
  { shell }: JupyterFrontEnd,
  panel: NotebookPanel,
  carried: readonly Carried[],
  tools: Tools,
): Promise<void> {
  await addCells(panel, belowActive(panel), carried, tools);
  shell.activateById(panel.id);
}

/** Shows or says why not: a file of a drive in `carried` can be shown in place of made again. */
function offerToView(panel: NotebookPanel, id: string | undefined, path: string, tools: Tools) {
  const { __ } = tools.trans;
  const record = relative(panel.context.path, path);
  if (record === undefined) return;
  const callback = () => {
    const cell = [...(panel.content.model?.cells ?? [])].find((one) => one.id === id);
    cell?.sharedModel.setSource(viewing(record));
  };
  const label = __("Show it instead");
  const options = { autoClose: 10_000, actions: [{ label, callback }] };
  Notification.info(__("The new cell makes the run of %1 again.", nameOf(path)), options);
}

/** The text of the cell. */
async function sourceOf(one: Carried, panel: NotebookPanel, tools: Tools): Promise<string> {
  if (one.kind === "settings") return making(one.made);
  const name = nameFor(one, tools.trans);
  const found = await insideOf(one, tools);
  const record = one.kind === "path" ? relative(panel.context.path, one.path) : undefined;
  const isThere = found.kind === "record" && record !== undefined;
  const where = { name, attention: found.attention, ...(isThere ? { record } : {}) };
  return making(found.made, where);
}

async function bytesFrom(one: Exclude<Carried, { kind: "settings" }>, { services }: Tools) {
  return one.kind === "path" ? bytesAt(one.path, services) : blobSource(one.file);
}

async function insideOf(
  one: Exclude<Carried, { kind: "settings" }>,
  tools: Tools,
): Promise<Inside & { bytes: Source }> {
  const bytes = await bytesFrom(one, tools);
  const found = await inside(bytes);
  if (found === undefined) throw new NoCell(tools.trans.__("It does not say how it was made."));
  return { ...found, bytes };
}

/** Gives a widget what was dropped on it, as a drop that its page code takes. */
export async function give(root: HTMLElement, one: Carried, tools: Tools): Promise<void> {
  const transfer = await refusing(one, tools, () => transferOf(one, tools));
  if (transfer === undefined || !root.isConnected) return;
  const init = { bubbles: true, cancelable: true, dataTransfer: transfer };
  root.dispatchEvent(new DragEvent("drop", init));
}

async function transferOf(one: Carried, tools: Tools): Promise<DataTransfer> {
  const transfer = new DataTransfer();
  const setMade = (made: unknown) => transfer.setData(SETTINGS_TYPE, JSON.stringify(made));
  if (one.kind === "settings") {
    setMade(one.made);
  } else if (one.kind === "file") {
    transfer.items.add(one.file);
  } else if (isRecord(one.path)) {
    const { made, image, bytes } = await insideOf(one, tools);
    setMade(made);
    if (image) {
      const data = await bytes.read(image.from, image.to);
      transfer.items.add(new File([new Uint8Array(data)], "image.png", { type: "image/png" }));
    }
  } else {
    const name = nameOf(one.path);
    const bytes = await bytesFrom(one, tools);
    const problem = refusal({ name, size: bytes.size });
    if (problem !== undefined) throw new NoCell(problem);
    transfer.items.add(new File([new Uint8Array(await bytes.read(0, bytes.size))], name));
  }
  return transfer;
}

function nameFor(one: Carried, { __ }: Texts): string {
  if (one.kind === "settings") return __("This image");
  return one.kind === "path" ? nameOf(one.path) : one.file.name;
}

/** The result; what goes wrong is said in a notification. */
async function refusing<T>(one: Carried, { trans }: Tools, get: () => Promise<T>) {
  const name = nameFor(one, trans);
  try {
    return await get();
  } catch (error) {
    const words = () => {
      const { title, lines } = wordsFor(error, trans);
      return [title, ...lines].join(" ");
    };
    const why = error instanceof NoCell ? error.message : words();
    const message = trans.__("%1 cannot be used. %2", name, why);
    Notification.error(message, { autoClose: 10_000 });
    return undefined;
  }
}
