// A prompt as the network read it, and the words in it (trace/tokens.py).

import { LIMITS } from "../lib/contract";
import { lengthOf, SPACE } from "./python";

/** The tokens of one prompt; places count in code points. */
export interface PromptTokens {
  readonly prompt: string;
  readonly pieces: readonly string[];
  readonly spans: readonly (readonly [number, number])[];
  readonly cut: string;
  readonly slots: number;
}

export interface Word {
  text: string;
  tokens: number[]; // its pieces, as columns of the attention
  start: number;
  end: number;
}

// Combining marks and joiners go on with a word, as in Hindi and Persian.
const LETTER = "(?:[\\p{L}\\p{N}_\\u200c\\u200d]|(?![\\u{20000}-\\u{10ffff}])\\p{M})";
const BEGIN = "[\\p{L}\\p{N}_]";
const OTHER = `[^\\p{L}\\p{N}_${SPACE}]`;
const WORD = new RegExp(`${BEGIN}${LETTER}*(?:['’]${BEGIN}${LETTER}*)*|${OTHER}+`, "gu");

/** The words that the network saw, in order, each with its tokens; none of more than a page shows. */
export function wordsOf({ prompt, spans }: PromptTokens): Word[] {
  const found: Word[] = [];
  const later = spans.map(([from, to], i) => ({ from, to, token: i + 1 }));
  later.sort((a, b) => b.from - a.from); // the next one last
  let here: typeof later = []; // those that began and may reach the next word
  let [units, start, held] = [0, 0, 0];
  for (const { 0: text, index } of prompt.matchAll(WORD)) {
    start += lengthOf(prompt.slice(units, index));
    const [from, end] = [start, start + lengthOf(text)];
    while ((later.at(-1)?.from ?? end) < end) here.push(later.pop() as (typeof later)[number]);
    here = here.filter(({ to }) => to > from);
    if (here.length > 0) {
      const tokens = here.map(({ token }) => token).sort((a, b) => a - b);
      found.push({ text, tokens, start, end });
      held += tokens.length;
    }
    if (found.length > LIMITS.tokens || held > 16 * LIMITS.tokens) return [];
    [units, start] = [index + text.length, end];
  }
  return found;
}
