// A widget's model without a kernel: for exported pages and for documents.

import type { AnyModel } from "@anywidget/types";

export type State = Record<string, unknown>;
type Handler = (...values: unknown[]) => void;

/** The part of a model that panels need, over a plain state; what they set stays in the page. */
export function hostModel(state: State): AnyModel {
  const handlers = new Map<string, Set<Handler>>();
  const tell = (name: string) => {
    for (const handler of [...(handlers.get(name) ?? [])]) handler();
  };
  const model = {
    get: (name: string) => state[name],
    set(name: string, value: unknown) {
      if (state[name] === value) return;
      state[name] = value;
      tell(`change:${name}`);
      tell("change");
    },
    on(name: string, handler: Handler) {
      handlers.set(name, (handlers.get(name) ?? new Set()).add(handler));
    },
    off(name: string, handler: Handler) {
      handlers.get(name)?.delete(handler);
    },
    save_changes() {},
    send() {},
  };
  return model as unknown as AnyModel;
}
