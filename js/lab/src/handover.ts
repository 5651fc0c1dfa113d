// A notebook that another tab of the browser opens and runs. Notebook 7 has a tab for each.

const KEY = "sdwidgets:run";
const LONGEST = 120_000; // milliseconds for the other tab to load

/** Leaves a notebook's path for the tab that opens it; `server` is the server's address. */
export function leave(path: string, server: string, now = Date.now()): void {
  localStorage.setItem(KEY, JSON.stringify([server, path, now]));
}

/** Whether another tab has left this path, just now. It can be taken once. */
export function take(path: string, server: string, now = Date.now()): boolean {
  const [itsServer, itsPath, since] = left();
  if (itsServer !== server || itsPath !== path) return false;
  localStorage.removeItem(KEY);
  return typeof since === "number" && now >= since && now - since < LONGEST;
}

function left(): unknown[] {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}
