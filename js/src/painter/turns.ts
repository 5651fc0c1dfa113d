// What this page has said to the kernel, and what of it the kernel has heard.

let pages = 0;
/** A name that no other page has. */
const named = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}-${++pages}`;

export class Turns {
  readonly page = named();
  #said = 0; // the number of the last message
  #heard = 0; // the number of the last that the kernel has taken

  /** The number of the next message. */
  next(): number {
    return ++this.#said;
  }

  /** Takes the kernel's word on who drew last; returns whether that was this page. */
  read([page, number]: readonly [page: string, number: number]): boolean {
    const own = page === this.page;
    if (own) this.#heard = Math.max(this.#heard, number);
    return own;
  }

  /** Waits for no answer any more. */
  settle() {
    this.#heard = this.#said;
  }

  /** Whether the kernel has heard everything. */
  get answered() {
    return this.#heard >= this.#said;
  }
}
