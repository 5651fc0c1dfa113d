// Recorded runs in a tab: the viewer and the comparison of the widgets, over the reader's models.

import type { AnyModel } from "@anywidget/types";
import { h } from "../../../src/lib/dom";
import { NAMES, type Selection, selectionOf } from "../../../src/lib/selection";
import type { Source } from "../../../src/lib/source";
import {
  about,
  openComparison,
  openRecord,
  type RecordFile,
  recordOf,
  sizeOf,
} from "../../../src/record";
import { looksRuined, Unread } from "../drives/source";
import type { Texts } from "../texts";
import { table } from "./table";
import { viewers } from "./viewers";

interface Options {
  root: HTMLElement;
  signal: AbortSignal;
  trans: Texts;
  /** What is selected at first. */
  selection: Partial<Selection>;
  /** Called when something else is selected. */
  selected(selection: Partial<Selection>): void;
  /** Called when the file, which is already on show, turns out to be wrong or cannot be read. */
  failed(error: unknown): void;
}

/** A file to read, and its name for messages. */
export interface Named {
  source: Source;
  name: string;
}

/** Opens a record; a file that its drive took for text is refused for that reason. */
async function opened({ source, name }: Named, signal: AbortSignal): Promise<RecordFile> {
  try {
    return await openRecord(source, { signal, name });
  } catch (error) {
    const isRuined = !signal.aborted && (await looksRuined(source).catch(() => false));
    throw isRuined ? new Unread("ruined") : error;
  }
}

/** Draws a widget over a model; returns what undoes it. */
function drawn(widget: unknown, model: AnyModel, el: HTMLElement): () => void {
  const { initialize, render } = widget as Record<string, (props: object) => unknown>;
  const undo = [initialize?.({ model }), render?.({ model, el })].reverse();
  return () => {
    for (const each of undo) if (typeof each === "function") each();
  };
}

/** Sets what is selected, and follows it from then on. */
function selecting(model: AnyModel, { selection, selected }: Options) {
  const wanted = selectionOf((name) => selection[name]);
  for (const name of NAMES) if (name in selection) model.set(name, wanted[name] as never);
  const changed = () => selected(unusual(selectionOf((name) => model.get(name))));
  for (const name of NAMES) model.on(`change:${name}`, changed);
}

/** What differs from the defaults. */
function unusual(now: Selection): Partial<Selection> {
  const usual = selectionOf(() => undefined);
  const names = NAMES.filter((name) => now[name] !== usual[name]);
  return Object.fromEntries(names.map((name) => [name, now[name]]));
}

/** The settings of the run, in a table. */
function aboutOf(file: RecordFile, trans: Texts): HTMLElement {
  const { unpacked } = file;
  const element = h("section", { class: "sdw-doc-about", "aria-label": trans.__("Settings") });
  const rows = about(unpacked, sizeOf(unpacked, undefined));
  const notices = unpacked.notices.join("\n");
  if (notices !== "") rows.push(["notices", notices]);
  element.append(h("h2", "sdw-title", trans.__("settings")), table(rows));
  return element;
}

/** What the file says about its run, for all images together. */
const madeBy = ({ unpacked, settings }: RecordFile) => recordOf(unpacked, settings.batch_size);

/** Shows a record; it is read on as it is looked at. */
export async function showRecord(
  options: Options & Named & { panels: readonly string[] | undefined },
) {
  const { root, name, signal, trans, panels } = options;
  const [file, { viewer }] = await Promise.all([opened(options, signal), viewers()]);
  const { model } = file;
  const known = model.get("panels") as string[];
  if (panels) model.set("panels", known.filter((panel) => panels.includes(panel)) as never);
  selecting(model, options);
  const el = h("div");
  const settings = aboutOf(file, trans);
  settings.hidden = true;
  root.append(el, settings);
  const undo = drawn(viewer, model, el);
  file.checked.catch((error: unknown) => signal.aborted || options.failed(error));
  return {
    file,
    model,
    /** What `making` needs for the cell that makes it again. */
    made: () => ({
      made: madeBy(file),
      found: { name, record: name, attention: file.header.layers.length > 0 },
    }),
    /** Shows or hides the settings. */
    toggleAbout() {
      settings.hidden = !settings.hidden;
      if (!settings.hidden) settings.scrollIntoView({ block: "nearest" });
    },
    close() {
      undo();
      file.close();
    },
  };
}

/** Shows several records, locked to one step and one word; returns what undoes it. */
export async function compareRecords(options: Options & { files: readonly Named[] }) {
  const { root, signal, files } = options;
  const opening = Promise.all(files.map((file) => opened(file, signal)));
  const [records, { compare }] = await Promise.all([opening, viewers()]);
  const { model, loaded } = openComparison(records);
  selecting(model, options);
  const el = h("div");
  root.append(el);
  const undo = drawn(compare, model, el);
  for (const each of [loaded, ...records.map(({ checked }) => checked)]) {
    each.catch((error: unknown) => signal.aborted || options.failed(error));
  }
  return () => {
    undo();
    for (const record of records) record.close();
  };
}
