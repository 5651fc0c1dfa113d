// A view of a file that the page reads by itself: it reads when it is first seen, says how far it
// is, shows what is wrong in words, and says when the file has changed.

import type { Message } from "@lumino/messaging";
import { Signal } from "@lumino/signaling";
import { Widget } from "@lumino/widgets";
import { h, on, write } from "../../../src/lib/dom";
import { bytesIn } from "../../../src/lib/words";
import type { Texts } from "../texts";
import { wordsFor } from "./said";
import "./view.css";

/** What a view needs to fill itself. */
export interface Filling {
  root: HTMLElement;
  signal: AbortSignal; // aborted when the view is closed or filled again
  progress(done: number, size: number): void;
}

export abstract class FileView extends Widget {
  /** Emitted when the file is on show, and when it is no longer. */
  readonly filled = new Signal<this, boolean>(this);
  readonly #note = h("div", { class: "sdw-doc-note", role: "status" });
  readonly #body = h("div", "sdw-doc-body");
  #filling: AbortController | undefined;
  #clear: (() => void) | undefined;

  constructor(protected readonly trans: Texts) {
    super();
    this.addClass("sdw");
    this.addClass("sdw-doc");
    this.node.dataset.state = "waiting";
    this.node.tabIndex = -1;
    this.node.append(this.#note, this.#body);
  }

  /** Whether the file is on show. */
  get isFilled() {
    return this.#clear !== undefined;
  }

  /** Draws the file into the root; returns what undoes it. */
  protected abstract fill(filling: Filling): Promise<() => void>;

  /** Reads the file again. */
  reload() {
    this.#empty();
    this.note("");
    this.#fill();
  }

  /** Says something above the view, with a button that reloads if `again`; "" says nothing. */
  note(words: string, again = false) {
    const button = h("button", "sdw-button", this.trans.__("Reload"));
    on(button, "click", () => this.reload());
    this.#note.replaceChildren(...(words ? [h("p", {}, words), ...(again ? [button] : [])] : []));
  }

  /** Shows an error in the place of the file, which was on show. */
  protected fail(error: unknown) {
    this.#empty();
    this.#filling = new AbortController(); // nothing is read again until a person wants it
    this.#tell(error);
  }

  override dispose() {
    if (this.isDisposed) return;
    Signal.clearData(this);
    this.#empty();
    super.dispose();
  }

  protected override onAfterShow(message: Message) {
    super.onAfterShow(message);
    if (this.#filling === undefined) this.#fill();
  }

  // Notebook 7 makes a document, reads its path and drops it; a hidden tab may never be looked at.
  protected override onAfterAttach(message: Message) {
    super.onAfterAttach(message);
    if (this.isVisible && this.#filling === undefined) this.#fill();
  }

  protected override onActivateRequest(message: Message) {
    super.onActivateRequest(message);
    if (!this.node.contains(document.activeElement)) this.node.focus({ preventScroll: true });
    this.#focus();
  }

  /** Moves the focus on from the view itself: to the slider, so that arrow keys scrub at once. */
  #focus() {
    if (document.activeElement !== this.node) return;
    const find = (what: string) => this.#body.querySelector<HTMLElement>(what);
    (find("input[type=range]") ?? find("button"))?.focus({ preventScroll: true });
  }

  #empty() {
    this.#filling?.abort();
    this.#filling = undefined;
    const clear = this.#clear;
    this.#clear = undefined;
    clear?.();
    this.#body.replaceChildren();
    if (clear) this.filled.emit(false);
  }

  async #fill() {
    const filling = new AbortController();
    const { signal } = filling;
    this.#filling = filling;
    this.node.dataset.state = "reading";
    const waiting = this.#waiting();
    const root = h("div");
    this.#body.replaceChildren(waiting.element);
    try {
      const clear = await this.fill({ root, signal, progress: waiting.progress });
      if (signal.aborted) return clear();
      this.#clear = clear;
      this.#body.replaceChildren(root);
      this.node.dataset.state = "shown";
      this.filled.emit(true);
      this.#focus();
    } catch (error) {
      if (signal.aborted) return;
      this.#tell(error);
    }
  }

  #waiting() {
    const bar = h("progress", { class: "sdw-progress", "aria-label": this.trans.__("Reading") });
    const words = h("p", {}, this.trans.__("Reading the file"));
    const progress = (done: number, size: number) => {
      if (size > 0) {
        bar.max = size;
        bar.value = done;
      }
      const [read, all] = [bytesIn(done), bytesIn(size)];
      const { __ } = this.trans;
      write(words, size > 0 ? __("%1 of %2 read", read, all) : __("%1 read", read));
    };
    return { element: h("div", "sdw-doc-waiting", bar, words), progress };
  }

  #tell(error: unknown) {
    this.node.dataset.state = "failed";
    const { title, lines } = wordsFor(error, this.trans);
    const again = h("button", "sdw-button", this.trans.__("Reload"));
    on(again, "click", () => this.reload());
    this.#body.replaceChildren(
      h(
        "div",
        { class: "sdw-doc-problem", role: "alert" },
        h("h2", {}, title),
        ...lines.map((line) => h("p", { dir: "auto" }, line)),
        h("p", {}, again),
      ),
    );
    this.#focus();
  }
}
