// Names found by what somebody types: first those that begin so, then those with a word that does.

const plain = (text: string) => text.normalize("NFKC").toLowerCase().trim();

/**
 * The indices of the names that a text finds, best first; all of them for an empty text. The index
 * itself, in digits, finds a name, too.
 */
export function found(names: readonly string[], text: string): number[] {
  const wanted = plain(text);
  if (wanted === "") return names.map((_, i) => i);
  const ranks: number[][] = [[], [], [], []];
  names.forEach((name, i) => {
    const at = plain(name).indexOf(wanted);
    if (plain(name) === wanted || String(i) === wanted) ranks[0]?.push(i);
    else if (at === 0) ranks[1]?.push(i);
    else if (at > 0 && hasWord(plain(name), wanted)) ranks[2]?.push(i);
    else if (at > 0) ranks[3]?.push(i);
  });
  return ranks.flat();
}

/** Whether a word of the name begins with the text. */
function hasWord(name: string, text: string) {
  for (let at = name.indexOf(text); at >= 0; at = name.indexOf(text, at + 1)) {
    if (!/[\p{L}\p{N}]/u.test(name[at - 1] ?? " ")) return true;
  }
  return false;
}
