// The document of a recorded run.

import type { DocumentWidget } from "@jupyterlab/docregistry";
import { Signal } from "@lumino/signaling";
import type { Selection } from "../../../src/lib/selection";
import { driveOf } from "../drives/drive";
import { openSource } from "../drives/source";
import { nameOf } from "../paths";
import { DocumentView } from "./document";
import type { Filling } from "./view";

type Shown = Awaited<ReturnType<typeof import("./shown")["showRecord"]>>;

export class RecordView extends DocumentView {
  /** Emitted when something else is selected. */
  readonly selected = new Signal<this, void>(this);
  /** What is selected and differs from the defaults, also before the record is there. */
  selection: Partial<Selection> = {};
  /** The record, while it is on show. */
  shown: Shown | undefined;

  /** The name of the file. */
  get name() {
    return nameOf(this.context.localPath);
  }

  protected async draw({ root, signal, progress }: Filling) {
    const { preferences, services, trans } = this.around;
    const drive = driveOf(services, () => this.context.path);
    const [{ showRecord }, { source }] = await Promise.all([
      import("./shown"),
      openSource(drive, { signal, progress }),
      preferences?.ready,
    ]);
    const shown = await showRecord({
      root,
      source,
      signal,
      trans,
      name: this.name,
      panels: preferences?.recordPanels,
      selection: { ...(preferences && { colormap: preferences.colormap }), ...this.selection },
      selected: (selection) => {
        this.selection = selection;
        this.selected.emit();
      },
      failed: (error) => this.fail(error),
    });
    this.shown = shown;
    const recolour = (_sender: unknown, name: string) => {
      if (name === "colormap") shown.model.set(name, preferences?.colormap as never);
    };
    preferences?.changed.connect(recolour);
    return () => {
      preferences?.changed.disconnect(recolour);
      this.shown = undefined;
      shown.close();
    };
  }
}

/** The tab of a recorded run. */
export type RecordDocument = DocumentWidget<RecordView>;
