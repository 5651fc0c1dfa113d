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
