// What a file is, by its first bytes, if it is no record (sdwidgets/untrusted.py).

import { ascii, commas, linesOf, first as start, stripped } from "./python";

/** The number of first bytes that identify a file's format. */
export const PREFIX = 512;

const BEGINNINGS: [string, string][] = [
  ["PK\x03\x04", "a zip archive (such as torch's .ckpt and NumPy's .npz files)"],
  ["\x93NUMPY", "a NumPy array"],
  ["GGUF", "a GGUF file"],
  ["\x89HDF", "an HDF5 file"],
  ["\x1f\x8b", "a gzip archive"],
  ["%PDF", "a PDF"],
  ["\x89PNG", "a PNG image"],
  ["\xff\xd8\xff", "a JPEG image"],
  ["GIF8", "a GIF image"],
  ["RIFF", "a WebP image or another RIFF file"],
  ["7z\xbc\xaf\x27\x1c", "a 7z archive"],
  ["Rar!\x1a\x07", "a RAR archive"],
  ["BZh", "a bzip2 archive"],
  ["\xfd7zXZ\x00", "an xz archive"],
  ["\x28\xb5\x2f\xfd", "a zstd archive"],
  ["\x7fELF", "a program"],
  ["MZ\x90", "a program"],
];
const WEB_PAGE = ["<!doctype", "<html", "<head", "<?xml", "<body"];

/** The format of a file, which fits into "FILE is ..."; undefined if it is not known. */
export function formatOf(data: Uint8Array): string | undefined {
  const letters = Array.from(data.subarray(0, PREFIX), (byte) => String.fromCharCode(byte)).join(
    "",
  );
  if (letters.startsWith("version https://git-lfs.github.com/spec/")) {
    const size = /\nsize (\d{1,20})/.exec(letters)?.[1];
    const promised = size === undefined ? "" : ` for a file of ${commas(BigInt(size))} bytes`;
    return `a Git LFS pointer${promised} (run \`git lfs pull\`)`;
  }
  const text = letters
    .replace(/^[\xef\xbb\xbf \t\r\n]+/, "")
    .replace(/[A-Z]/g, (one) => one.toLowerCase());
  if (WEB_PAGE.some((one) => text.startsWith(one))) {
    return "a web page (a login or error page saved instead of the file)";
  }
  const known = BEGINNINGS.find(([beginning]) => letters.startsWith(beginning));
  if (known !== undefined) return known[1];
  if (data.length > 2 && data[0] === 0x80 && [2, 3, 4, 5].includes(data[1] as number)) {
    return "a Python pickle (such as torch's old .ckpt, .pt and .bin files)";
  }
  if (letters.slice(257, 262) === "ustar") return "a tar archive";
  if (!isText(data, letters)) return undefined;
  return text.startsWith("{") || text.startsWith("[")
    ? "a JSON text"
    : `a text (it begins with ${firstLine(data)})`;
}

const isWide = (letters: string) =>
  letters.startsWith("\xff\xfe") || letters.startsWith("\xfe\xff");
const wide = (data: Uint8Array) =>
  new TextDecoder(data[0] === 0xff ? "utf-16le" : "utf-16be").decode(
    data.subarray(0, data.length & ~1),
  );
// biome-ignore lint/suspicious/noControlCharactersInRegex: they tell bytes from text
const CONTROLS = /[\x00-\x08\x0b\x0e-\x1f\x7f]/;

/** Whether the first bytes are words, in UTF-8 or UTF-16. */
function isText(data: Uint8Array, letters: string): boolean {
  if (isWide(letters)) {
    const text = wide(data);
    return [...text].length > 0 && data.length > 3 && !CONTROLS.test(text);
  }
  if (!/[^ \t\n\r\f\v]/.test(letters) || CONTROLS.test(letters)) return false;
  const cut = data.length === PREFIX ? [0, 1, 2, 3] : [0]; // a character may have been cut
  return cut.some((less) => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(0, data.length - less));
      return true;
    } catch {
      return false;
    }
  });
}

function firstLine(data: Uint8Array, most = 40): string {
  const text = data[0] === 0xff || data[0] === 0xfe ? wide(data) : new TextDecoder().decode(data);
  const [line = ""] = linesOf(stripped(text));
  return ascii(start(line, most));
}
