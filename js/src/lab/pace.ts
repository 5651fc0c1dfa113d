// How often the kernel hears of a drag.

import type { EditJson } from "./view";

const INTERVAL = 70; // ms between two messages, at least: 14 a second

/** Sends the edits of a drag at intervals: the newest wins, and the last one is always sent. */
export function paced(send: (edit: EditJson) => void, interval = INTERVAL) {
  let waiting: EditJson | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const go = () => {
    timer = undefined;
    if (waiting === undefined) return;
    send(waiting);
    waiting = undefined;
    timer = setTimeout(go, interval);
  };
  return {
    live(edit: EditJson) {
      waiting = { ...edit, live: true };
      if (timer === undefined) go();
    },
    done(edit: EditJson) {
      clearTimeout(timer);
      [timer, waiting] = [undefined, undefined];
      send(edit);
    },
  };
}
