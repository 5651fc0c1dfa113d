// A prompt as the network read it, and the words in it (trace/tokens.py).

import { LIMITS } from "../lib/contract";
import { lengthOf, SPACE, words } from "./python";

/** The tokens of one prompt; places count in code points. */
export interface PromptTokens {
  readonly prompt: string;
  readonly pieces: readonly string[];
  readonly spans: readonly (readonly [number, number])[];
  readonly cut: string;
  readonly slots: number;
  readonly places: readonly number[]; // [] where they are simply the first
  readonly weights: readonly number[]; // [] where all are 1
  readonly learnt: readonly string[]; // [] where no piece is one of a learnt word
  readonly padding: readonly string[]; // of each text encoder
}

export interface Word {
  text: string;
  tokens: number[]; // its pieces, as columns of the attention
  start: number;
  end: number;
}

// Combining marks and joiners go on with a word, as in Hindi and Persian.
const LETTER = "(?:[\\p{L}\\p{N}_\\u200c\\u200d]|(?![\\u{20000}-\\u{10ffff}])\\p{M})";
const MARK = /^\p{M}$/u; // stays with its letter
const BEGIN = "[\\p{L}\\p{N}_]";
const OTHER = `[^\\p{L}\\p{N}_${SPACE}]`;
const WORD = new RegExp(`${BEGIN}${LETTER}*(?:['’]${BEGIN}${LETTER}*)*|${OTHER}+`, "gu");

/** The words that the network saw, in order, each with its tokens; none of more than a page shows. */
export function wordsOf({ prompt, spans, learnt }: PromptTokens): Word[] {
  const found: Word[] = [];
  const letters = [...prompt];
  const later = spans.map(([from, to], i) => ({ from, to, token: i + 1 }));
  later.sort((a, b) => b.from - a.from); // the next one last
  let here: typeof later = []; // those that began and may reach the next word
  let held = 0;
  for (const [from, end] of parts(letters, spans, learnt)) {
    while ((later.at(-1)?.from ?? end) < end) here.push(later.pop() as (typeof later)[number]);
    here = here.filter(({ to }) => to > from);
    if (here.length > 0) {
      const tokens = here.map(({ token }) => token).sort((a, b) => a - b);
      found.push({ text: letters.slice(from, end).join(""), tokens, start: from, end });
      held += tokens.length;
    }
    if (found.length > LIMITS.tokens || held > 16 * LIMITS.tokens) return [];
  }
  return found;
}

/** The spans of what may be a word. What is in no piece, such as brackets, divides words as spaces
 * do; a learnt word, and what a piece spans, is one, however it is spelt. */
function* parts(
  letters: readonly string[],
  spans: PromptTokens["spans"],
  learnt: readonly string[],
): Generator<readonly [number, number]> {
  const seen = letters.map(() => " ");
  for (const [from, to] of spans) {
    for (let i = from; i < to || MARK.test(letters[i] ?? ""); i++) seen[i] = letters[i] as string;
  }
  // the name of a box, or a prompt that is a single token, may have spaces
  const isWhole = ([a, b]: readonly [number, number], i: number) =>
    Boolean(learnt[i]) || words(letters.slice(a, b).join("")).length > 1;
  const own = new Map(spans.filter(isWhole).map(([a, b]) => [`${a} ${b}`, [a, b]]));
  const ordered = ([...own.values()] as [number, number][]).sort(([a], [b]) => a - b);
  let start = 0;
  for (const [first, last] of [...ordered, [letters.length, letters.length] as const]) {
    const text = seen.slice(start, first).join("");
    let [units, at] = [0, start];
    for (const { 0: word, index } of text.matchAll(WORD)) {
      at += lengthOf(text.slice(units, index));
      yield [at, at + lengthOf(word)];
      [units, at] = [index + word.length, at + lengthOf(word)];
    }
    if (last > first) yield [first, last];
    start = Math.max(start, last);
  }
}
