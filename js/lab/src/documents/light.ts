// The document model of files that a page reads itself. JupyterLab asks the contents API for a file
// in the model factory's format, so a factory without a format is what keeps 200 MB of base64 away.

import { DocumentModel, type DocumentRegistry } from "@jupyterlab/docregistry";

export const LIGHT = "sdwidgets:light"; // the name of the factory

/** A model without content. */
export class LightModel extends DocumentModel {
  constructor() {
    // JupyterLab copies a writable document into a checkpoint when it is opened, but not a
    // collaborative one, whose model says that it is kept elsewhere. This one is: in its file.
    super({ collaborationEnabled: true });
    this.readOnly = true;
  }

  /** Saving would replace the file by nothing. */
  override toString(): never {
    throw new Error("This document is only read. It has nothing to save.");
  }

  override fromString() {}
}

/** Makes these models. */
export class LightFactory implements DocumentRegistry.IModelFactory<LightModel> {
  readonly name = LIGHT;
  readonly contentType = "file";
  readonly fileFormat = null;
  readonly collaborative = false;
  readonly isDisposed = false;

  dispose() {}

  createNew() {
    return new LightModel();
  }

  preferredLanguage() {
    return "";
  }
}
