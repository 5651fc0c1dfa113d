// Documents whose view reads the file by itself, and says what happens to it meanwhile.

import { ABCWidgetFactory, type DocumentRegistry, DocumentWidget } from "@jupyterlab/docregistry";
import type { Contents, ServiceManager } from "@jupyterlab/services";
import type { Message } from "@lumino/messaging";
import { Signal } from "@lumino/signaling";
import { nameOf } from "../paths";
import type { Texts } from "../texts";
import type { IPreferences } from "../tokens";
import { LIGHT, LightFactory } from "./light";
import { FileView, type Filling } from "./view";

/** What the views are surrounded by. */
export interface Surroundings {
  services: ServiceManager.IManager;
  trans: Texts;
  preferences: IPreferences | null;
}

export abstract class DocumentView extends FileView {
  #modified: string | undefined; // when the file that was read had been changed last
  #reverted = false;

  constructor(
    readonly context: DocumentRegistry.Context,
    protected readonly around: Surroundings,
  ) {
    super(around.trans);
    context.fileChanged.connect(this.#changed, this);
    context.pathChanged.connect(this.#moved, this);
    around.services.contents.fileChanged.connect(this.#happened, this);
  }

  override dispose() {
    if (this.isDisposed) return;
    Signal.clearData(this);
    super.dispose();
  }

  /** Draws the file, wherever it is by then. */
  protected abstract draw(filling: Filling): Promise<() => void>;

  protected async fill(filling: Filling) {
    const [clear, modified] = await Promise.all([this.draw(filling), this.#time()]);
    this.#modified = modified;
    return clear;
  }

  protected override onAfterShow(message: Message) {
    super.onAfterShow(message);
    if (this.isFilled) void this.#look();
  }

  /** When the file was changed last; undefined if it is not there or nobody knows. */
  #time(): Promise<string | undefined> {
    const { contents } = this.around.services;
    const known = contents.get(this.context.path, { type: "file", content: false });
    return known.then(
      ({ last_modified }) => last_modified,
      (error: { response?: Response }) => (error.response?.status === 404 ? GONE : undefined),
    );
  }

  /** Says so if the file is not the one that was read. */
  async #look() {
    const now = await this.#time();
    if (this.isDisposed || !this.isFilled || !now || !this.#modified) return;
    if (now === GONE) this.#deleted();
    else if (now !== this.#modified) this.#replaced();
  }

  /** JupyterLab has read the file's state: a person reloads it from the disk, or it was saved. */
  #changed(_context: unknown, { last_modified }: { last_modified?: string }) {
    if (!this.isFilled || last_modified === this.#modified) return;
    this.#reverted = true;
    queueMicrotask(() => {
      if (this.#reverted && !this.isDisposed) this.reload();
      this.#reverted = false;
    });
  }

  #moved(_context: unknown, path: string) {
    if (this.isFilled) this.note(this.trans.__("The file is now called “%1”.", nameOf(path)));
  }

  #happened(_contents: unknown, { type, oldValue, newValue }: Contents.IChangedArgs) {
    const { path } = this.context;
    const gone = oldValue?.path;
    if (type === "delete" && (gone === path || path.startsWith(`${gone}/`))) this.#deleted();
    if (type === "save" && newValue?.path === path) {
      this.#reverted = false;
      this.#replaced();
    }
  }

  #deleted() {
    if (!this.isFilled) return;
    this.note(this.trans.__("The file was deleted. What is shown was read before."), true);
  }

  #replaced() {
    if (!this.isFilled) return;
    this.note(this.trans.__("The file was replaced. What is shown is the one before."), true);
  }
}

const GONE = "gone";

/** Makes documents with such a view. */
export class DocumentFactory<T extends DocumentView> extends ABCWidgetFactory<DocumentWidget<T>> {
  constructor(
    options: Omit<DocumentRegistry.IWidgetFactoryOptions<DocumentWidget<T>>, "modelName">,
    private readonly make: (context: DocumentRegistry.Context) => T,
  ) {
    super({ ...options, modelName: LIGHT, readOnly: true });
  }

  protected createNewWidget(context: DocumentRegistry.Context): DocumentWidget<T> {
    const document = new DocumentWidget({ content: this.make(context), context });
    document.toolbar.addClass("sdw-doc-tools");
    return document;
  }
}

/** Makes a factory known, and the models that it needs. */
export function addFactory<T extends DocumentView>(
  registry: DocumentRegistry,
  factory: DocumentFactory<T>,
) {
  if (registry.getModelFactory(LIGHT) === undefined) registry.addModelFactory(new LightFactory());
  registry.addWidgetFactory(factory as unknown as DocumentRegistry.WidgetFactory);
}
