// The frames of a walk, in order, and which of them comes next.

/** A frame as the kernel says it, with its number in the order in which frames were made. */
export interface Shot {
  place: number; // in legs
  about: [string, string][]; // its own settings, in words
  number: number;
}

/** The frames in the order of their places. */
export function ordered(shots: unknown): Shot[] {
  const all = Array.isArray(shots) ? (shots as Shot[]) : [];
  return all.map((shot, number) => ({ ...shot, number })).sort((a, b) => a.place - b.place);
}

/** The index of the frame nearest to a place; 0 without any. */
export function indexNear(all: readonly Shot[], place: number): number {
  let best = 0;
  for (const [i, shot] of all.entries()) {
    if (Math.abs(shot.place - place) < Math.abs((all[best]?.place ?? 0) - place)) best = i;
  }
  return best;
}

/** The index that follows while it plays: it begins again at the end or, `back`, turns round. */
export function nextIndex(index: number, count: number, ahead: boolean, back: boolean) {
  if (count < 2) return { index: 0, ahead: true };
  if (!back) return { index: (index + 1) % count, ahead: true };
  const turned = index === count - 1 ? false : index === 0 ? true : ahead;
  return { index: index + (turned ? 1 : -1), ahead: turned };
}

/** A frame in words: "a cat, 0.25 of the way to a dog, seed 7". */
export function wordsOf({ about }: Shot): string {
  const said = new Map(about);
  const prompt = said.get("prompt");
  const parts = [
    prompt === undefined || prompt === "none" ? "no prompt" : prompt,
    said.get("toward"),
    said.has("seed") ? `seed ${said.get("seed")}` : undefined,
    said.get("variation"),
  ];
  return parts.filter((part) => part !== undefined).join(", ");
}
