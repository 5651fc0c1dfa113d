// The Studio around a part of it. A host puts a part's element into the page after its render.

/** Calls `found` once, with the root of the Studio around `el`; returns the cleanup. */
export function whenPlaced(el: HTMLElement, found: (root: HTMLElement) => void): () => void {
  const look = new ResizeObserver(() => {
    const root = el.closest<HTMLElement>(".sdw-studio");
    if (root === null) return;
    look.disconnect();
    found(root);
  });
  look.observe(el);
  return () => look.disconnect();
}
