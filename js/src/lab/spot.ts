// The frame around a latent cell that is pointed at.

/** Puts a mark around a cell of a map of that size; mark and map fill the same box. */
export function placed(
  mark: HTMLElement,
  { x, y }: { x: number; y: number },
  { width, height }: { width: number; height: number },
) {
  mark.style.left = `${(100 * x) / width}%`;
  mark.style.top = `${(100 * y) / height}%`;
  mark.style.width = `${100 / width}%`;
  mark.style.height = `${100 / height}%`;
}
