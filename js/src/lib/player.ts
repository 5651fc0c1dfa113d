// Shows steps that arrive together one after another.

/**
 * Shows things in order, one per screen refresh, so that steps that arrive together are all visible.
 * If many wait, it shows several at once to keep up with the kernel. A hidden page has no refreshes,
 * so there they are shown at once.
 */
export class Player {
  #waiting: (() => void)[] = [];
  #timer: number | undefined;

  /** Whether anything waits. */
  get busy() {
    return this.#waiting.length > 0;
  }

  push(show: () => void) {
    this.#waiting.push(show);
    if (document.hidden) this.flush();
    else this.#timer ??= requestAnimationFrame(this.#next);
  }

  /** Shows everything that waits, now. */
  flush() {
    this.stop();
    for (const show of this.#waiting.splice(0)) show();
  }

  /** Forgets everything that waits. */
  clear() {
    this.stop();
    this.#waiting.length = 0;
  }

  stop() {
    if (this.#timer !== undefined) cancelAnimationFrame(this.#timer);
    this.#timer = undefined;
  }

  #next = () => {
    this.#timer = undefined;
    for (const show of this.#waiting.splice(0, Math.ceil(this.#waiting.length / 10))) show();
    if (this.#waiting.length > 0) this.#timer = requestAnimationFrame(this.#next);
  };
}
