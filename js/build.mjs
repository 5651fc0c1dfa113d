// src/<widget>.ts -> ../sdwidgets/widgets/static/<widget>.{js,css}. Every .ts file directly in src/
// is an entry.
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = join(here, "..", "sdwidgets", "widgets", "static");
mkdirSync(outdir, { recursive: true });

const options = {
  entryPoints: readdirSync(join(here, "src"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join(here, "src", name)),
  outdir,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
};

const smaller = {
  module: true,
  ecma: 2020,
  compress: { passes: 3, unsafe_arrows: true, pure_getters: true }, // our getters only read
};

if (process.argv.includes("--watch")) {
  const context = await esbuild.context({ ...options, logLevel: "info" });
  await context.watch();
} else {
  // terser saves another 2 %: every instance of a widget has a copy of its bundle in the notebook
  const { outputFiles } = await esbuild.build({ ...options, write: false });
  for (const { path, text } of outputFiles) {
    const small = path.endsWith(".js") && (await minify(text, smaller));
    writeFileSync(path, small ? small.code : text);
  }
}
