// Steps that come together, shown one after another.

/**
 * Shows things one to a screen refresh, in order, so that steps that arrive together are all seen;
 * several where many wait, so that what the kernel sends faster than that is not late at the end.
 * In a hidden page, where nothing is refreshed, they are shown at once.
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

  /** Show all that waits, now. */
  flush() {
    this.stop();
    for (const show of this.#waiting.splice(0)) show();
  }

  /** Forget all that waits. */
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
