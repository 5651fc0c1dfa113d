// Values in Python's words, for refusals and texts that both languages write.
//
// In parsed JSON a bigint is Python's int and a number is its float.

export type Json = null | boolean | bigint | number | string | Json[] | JsonObject;
export type JsonObject = Map<string, Json>;

/** How many characters Python counts: code points. */
export function lengthOf(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    if (isHigh(text.charCodeAt(i)) && isLow(text.charCodeAt(i + 1))) {
      count--;
      i++;
    }
  }
  return count;
}

export const isHigh = (unit: number) => unit >= 0xd800 && unit < 0xdc00;
export const isLow = (unit: number) => unit >= 0xdc00 && unit < 0xe000;

/** The first characters of a text, as `text[:most]`. */
export function first(text: string, most: number): string {
  return text.length <= most ? text : [...text.slice(0, 2 * most)].slice(0, most).join("");
}

/** The text with its least and greatest characters in the order of code points, as Python sorts. */
export function compared(a: string, b: string): number {
  const [some, others] = [a[Symbol.iterator](), b[Symbol.iterator]()];
  for (;;) {
    const [one, other] = [some.next(), others.next()];
    if (one.done || other.done) return Number(other.done ?? false) - Number(one.done ?? false);
    const off = (one.value.codePointAt(0) as number) - (other.value.codePointAt(0) as number);
    if (off !== 0) return off;
  }
}

const PLAIN = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;
const SHORT: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function quoted(text: string, isPlain: (letter: string) => boolean): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let out = "";
  for (const letter of text) {
    if (letter === quote) out += `\\${letter}`;
    else if (letter in SHORT) out += SHORT[letter];
    else out += isPlain(letter) ? letter : escaped(letter);
  }
  return quote + out + quote;
}

function escaped(letter: string): string {
  const code = letter.codePointAt(0) as number;
  const [mark, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${mark}${code.toString(16).padStart(digits, "0")}`;
}

/** Python's `repr` of a text. */
export const repr = (text: string) => quoted(text, (letter) => PLAIN.test(letter));

/** Python's `ascii` of a text. */
export const ascii = (text: string) => quoted(text, (letter) => letter >= " " && letter <= "~");

/** Python's `repr` of a float. */
export function real(value: number): string {
  if (!Number.isFinite(value)) return value > 0 ? "inf" : value < 0 ? "-inf" : "nan";
  const [digits, power] = value.toExponential().split("e") as [string, string];
  const exponent = Number(power);
  if (exponent >= 16 || exponent < -4) {
    const sign = exponent < 0 ? "-" : "+";
    return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const sign = Object.is(value, -0) ? "-" : "";
  const plain = `${value}`;
  return sign + (plain.includes(".") ? plain : `${plain}.0`);
}

const MOST = { list: 6, object: 4, text: 30, whole: 40, level: 6 };

function cut(text: string, most: number): string {
  const start = Math.floor((most - 3) / 2);
  const letters = [...text];
  if (letters.length <= most) return text;
  return `${letters.slice(0, start).join("")}...${letters.slice(letters.length - (most - 3 - start)).join("")}`;
}

function shortText(text: string): string {
  const letters = [...text];
  const whole = repr(letters.slice(0, MOST.text).join(""));
  if (lengthOf(whole) <= MOST.text) return whole;
  const start = Math.floor((MOST.text - 3) / 2);
  const end = MOST.text - 3 - start;
  const ends = [...letters.slice(0, start), ...letters.slice(letters.length - end)];
  const both = [...repr(ends.join(""))];
  return `${both.slice(0, start).join("")}...${both.slice(both.length - end).join("")}`;
}

/** Python's `reprlib.repr`; `brackets`: those of the outermost list, "()" for a tuple. */
export function short(value: Json | undefined, brackets = "[]", level = MOST.level): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "bigint") return cut(value.toString(), MOST.whole);
  if (typeof value === "number") return real(value);
  if (typeof value === "string") return shortText(value);
  const more = "...";
  if (Array.isArray(value)) {
    if (level <= 0 && value.length > 0) return brackets[0] + more + brackets[1];
    const parts = value.slice(0, MOST.list).map((one) => short(one, "[]", level - 1));
    if (value.length > MOST.list) parts.push(more);
    const comma = brackets === "()" && value.length === 1 ? "," : "";
    return brackets[0] + parts.join(", ") + comma + brackets[1];
  }
  if (value.size === 0) return "{}";
  if (level <= 0) return `{${more}}`;
  const keys = [...value.keys()].sort(compared).slice(0, MOST.object);
  const parts = keys.map(
    (key) => `${short(key, "[]", level - 1)}: ${short(value.get(key), "[]", level - 1)}`,
  );
  if (value.size > MOST.object) parts.push(more);
  return `{${parts.join(", ")}}`;
}

/** Python's whitespace, which `split` and `strip` go by. */
export const SPACE =
  "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACES = new RegExp(`[${SPACE}]+`, "g");
const BEFORE = new RegExp(`^[${SPACE}]+`);
const AFTER = new RegExp(`[${SPACE}]+$`);

// biome-ignore lint/suspicious/noControlCharactersInRegex: lines end at some, too
const LINE_END = /\r\n|[\n-\r\x1c-\x1e\x85\u2028\u2029]/;

/** The lines of a text, as `splitlines` finds them. */
export const linesOf = (text: string) => text.split(LINE_END);
export const words = (text: string) => text.split(SPACES).filter((word) => word !== "");
export const leftStripped = (text: string) => text.replace(BEFORE, "");
export const rightStripped = (text: string) => text.replace(AFTER, "");
export const stripped = (text: string) => leftStripped(rightStripped(text));

/** `checks.shortened`. */
export function shortened(text: string, most: number): string {
  return lengthOf(text) <= most ? text : `${first(text, most - 3)}...`;
}

/** `checks.shown`. */
export const shown = (value: Json | undefined) => shortened(words(short(value)).join(" "), 200);

/** A number with commas between its thousands. */
export const commas = (value: number | bigint) => value.toString().replace(/\B(?=(\d{3})+$)/g, ",");

/** Python's `format(value, "g")`. */
export function general(value: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [digits, power] = value.toExponential(5).split("e") as [string, string];
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 6) {
    const plain = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
    return `${plain}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const plain = value.toFixed(5 - exponent);
  return plain.includes(".") ? plain.replace(/\.?0+$/, "") : plain;
}

/** Python's `json.dumps`; `ascii`: whether other letters are escaped. */
export function dumps(
  value: Json,
  {
    separators = [", ", ": "],
    ascii = true,
  }: { separators?: [string, string]; ascii?: boolean } = {},
): string {
  const [comma, colon] = separators;
  const write = (one: Json): string => {
    if (one === null || typeof one === "boolean") return String(one);
    if (typeof one === "bigint") return one.toString();
    if (typeof one === "number") return real(one);
    if (typeof one === "string") return spelled(one, ascii);
    if (Array.isArray(one)) return `[${one.map(write).join(comma)}]`;
    const parts = [...one].map(([name, each]) => spelled(name, ascii) + colon + write(each));
    return `{${parts.join(comma)}}`;
  };
  return write(value);
}

function spelled(text: string, isAscii: boolean): string {
  const plain = JSON.stringify(text);
  const unit = (letter: string) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return isAscii ? plain.replace(/[^ -~]/g, unit) : plain;
}
