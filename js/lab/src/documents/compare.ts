// Several recorded runs in one tab, locked to one step and one word.

import { Signal } from "@lumino/signaling";
import type { Selection } from "../../../src/lib/selection";
import { driveOf } from "../drives/drive";
import { openSource } from "../drives/source";
import { nameOf } from "../paths";
import type { Surroundings } from "./document";
import { FileView, type Filling } from "./view";

export class CompareView extends FileView {
  /** Emitted when something else is selected. */
  readonly selected = new Signal<this, void>(this);
  selection: Partial<Selection> = {};

  constructor(
    readonly paths: string[],
    private readonly around: Surroundings,
  ) {
    super(around.trans);
    const names = paths.map(nameOf);
    this.title.label = names.map((name) => name.replace(/\.sdtrace$/, "")).join(" | ");
    this.title.caption = paths.join("\n");
    around.services.contents.fileChanged.connect(this.#happened, this);
  }

  override dispose() {
    if (this.isDisposed) return;
    Signal.clearData(this);
    super.dispose();
  }

  protected async fill({ root, signal, progress }: Filling) {
    const { services, preferences, trans } = this.around;
    const done = this.paths.map(() => [0, 0]);
    const opened = this.paths.map((path, i) => {
      const drive = driveOf(services, () => this.paths[i] as string);
      const told = (read: number, size: number) => {
        done[i] = [read, size];
        const [all, sizes] = [0, 1].map((k) => done.reduce((sum, one) => sum + (one[k] ?? 0), 0));
        progress(all as number, sizes as number);
      };
      const name = nameOf(path);
      return openSource(drive, { signal, progress: told }).then(({ source }) => ({ source, name }));
    });
    const [{ compareRecords }, files] = await Promise.all([import("./shown"), Promise.all(opened)]);
    return compareRecords({
      root,
      files,
      signal,
      trans,
      selection: { ...(preferences ? { colormap: preferences.colormap } : {}), ...this.selection },
      selected: (selection) => {
        this.selection = selection;
        this.selected.emit();
      },
      failed: (error) => this.fail(error),
    });
  }

  #happened(_contents: unknown, change: { type: string; oldValue?: unknown; newValue?: unknown }) {
    const pathOf = (model: unknown) => (model as { path?: string } | null)?.path ?? "";
    const [from, to] = [pathOf(change.oldValue), pathOf(change.newValue)];
    if (change.type === "rename") {
      for (const [i, path] of this.paths.entries()) {
        const isMoved = path === from || path.startsWith(`${from}/`);
        if (isMoved) this.paths[i] = to + path.slice(from.length);
      }
    }
    if (change.type === "delete" && this.paths.includes(from)) {
      this.note(this.trans.__("“%1” was deleted. What is shown was read before.", from), true);
    }
    if (change.type === "save" && this.paths.includes(to)) {
      this.note(this.trans.__("“%1” was replaced. What is shown is the one before.", to), true);
    }
  }
}
