// The known name that a person may have meant, as Python's difflib finds it.

/** How alike two texts are, 0 to 1: Ratcliff and Obershelp's measure ("Pattern Matching: The
 * Gestalt Approach", Dr. Dobb's Journal, 1988). */
export function alike(a: string, b: string): number {
  const total = a.length + b.length;
  return total === 0 ? 1 : (2 * matching(a, b)) / total;
}

/** The characters of the longest common part, and of those on both sides of it. */
function matching(a: string, b: string): number {
  let [best, inA, inB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < b.length; j++) {
      let length = 0;
      while (i + length < a.length && a[i + length] === b[j + length]) length++;
      if (length > best) [best, inA, inB] = [length, i, j];
    }
  }
  if (best === 0) return 0;
  const before = matching(a.slice(0, inA), b.slice(0, inB));
  return before + best + matching(a.slice(inA + best), b.slice(inB + best));
}

/** A name without what is often left out: "DPM++ 2M" and "dpm2m" are dpmpp_2m. */
const plain = (name: string) => name.replaceAll(/[_+]|pp/g, "");

/** The known name nearest to a text; undefined if none is near. */
export function closest(text: string, known: readonly string[]): string | undefined {
  const given = [...text.toLowerCase().replaceAll(" ", "_")].slice(0, 50).join("");
  const same = known.find((name) => plain(name) === plain(given));
  if (same !== undefined) return same;
  const longer = known.find((name) => name.startsWith(given) && given.includes("_"));
  if (longer !== undefined) return longer;
  const ratios = known.map((name) => [alike(name, given), name] as const);
  const near = ratios.filter(([ratio]) => ratio >= 0.4);
  near.sort(([a, one], [b, other]) => b - a || (one < other ? 1 : -1)); // as heapq.nlargest
  return near[0]?.[1];
}
