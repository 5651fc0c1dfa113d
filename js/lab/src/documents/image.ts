// The document of an image: the image, and the settings that its file has inside.

import type { DocumentWidget } from "@jupyterlab/docregistry";
import { driveOf } from "../drives/drive";
import { openSource, Unread } from "../drives/source";
import { nameOf } from "../paths";
import { DocumentView } from "./document";
import type { Filling } from "./view";

const LARGEST = 200_000_000; // bytes of a file, all of which the page holds

export class ImageView extends DocumentView {
  /** What the file says about its run, as `Trace.record` writes it; undefined if nothing. */
  made: unknown;

  /** The name of the file. */
  get name() {
    return nameOf(this.context.localPath);
  }

  protected async draw({ root, signal, progress }: Filling) {
    const { services, trans } = this.around;
    const drive = driveOf(services, () => this.context.path);
    const [{ showImage }, { source }] = await Promise.all([
      import("./image_shown"),
      openSource(drive, { signal, progress }),
    ]);
    if (source.size > LARGEST) throw new Unread("large", LARGEST);
    const data = await source.read(0, source.size, signal);
    const shown = await showImage({ root, data, name: this.name, trans });
    this.made = shown.made;
    return () => {
      this.made = undefined;
      shown.close();
    };
  }
}

/** The tab of an image. */
export type ImageDocument = DocumentWidget<ImageView>;
