// What tests put in the place of a host.

import { vi } from "vitest";

type Handler = (...values: unknown[]) => void;

/** A widget's model, as far as its listeners go; they are counted. */
export class Listened {
  listeners = new Map<string, Set<Handler>>();

  on(name: string, listener: Handler) {
    this.listeners.set(name, (this.listeners.get(name) ?? new Set()).add(listener));
  }
  off(name: string, listener: Handler) {
    this.listeners.get(name)?.delete(listener);
  }
  emit(name: string, ...values: unknown[]) {
    for (const listener of [...(this.listeners.get(name) ?? [])]) listener(...values);
  }
  get listening() {
    return [...this.listeners.values()].reduce((sum, some) => sum + some.size, 0);
  }
}

type State = Record<string, unknown>;

/** A widget's model: traits, and what the page has sent and saved. */
export class FakeModel extends Listened {
  readonly sent: State[] = []; // messages to the kernel
  readonly saved: State[] = []; // the traits at each message of them to the kernel
  kernel = true; // whether anyone hears
  readonly widget_manager = { get_model: async () => ({ comm_live: this.kernel }) };
  readonly state: State;

  constructor(state: State) {
    super();
    this.state = state;
  }

  get(name: string) {
    return this.state[name];
  }
  set(name: string, value: unknown) {
    this.change({ [name]: value });
  }
  /** Several traits in one message, as from the kernel. */
  change(changes: State) {
    const names = Object.keys(changes).filter((name) => changes[name] !== this.state[name]);
    Object.assign(this.state, changes);
    for (const name of names) this.emit(`change:${name}`);
    if (names.length > 0) this.emit("change");
  }
  send(message: State) {
    this.#reach();
    this.sent.push(message);
  }
  save_changes() {
    this.#reach();
    this.saved.push({ ...this.state });
  }
  #reach() {
    if (!this.kernel) throw new Error("no kernel");
  }
}

/** Does what ipywidgets does when a model loses its kernel, or finds it again. */
export async function lose(model: FakeModel, lost = true) {
  model.kernel = !lost;
  model.emit("comm_live_update");
  await vi.advanceTimersByTimeAsync(1);
}

/** Addresses of blobs that were made and not given back; until mocks are restored. */
export function countedUrls(): Set<string> {
  const urls = new Set<string>();
  let count = 0;
  vi.spyOn(URL, "createObjectURL").mockImplementation(() => {
    urls.add(`blob:${++count}`);
    return `blob:${count}`;
  });
  vi.spyOn(URL, "revokeObjectURL").mockImplementation((url) => void urls.delete(url));
  return urls;
}

/** Elements have their size as soon as they are observed. */
export function placeAtOnce() {
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(readonly callback: () => void) {}
      observe() {
        queueMicrotask(this.callback);
      }
      disconnect() {}
    },
  );
}
