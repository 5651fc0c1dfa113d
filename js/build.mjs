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

// What is called often has one name for all calls: shorter, as each instance of a widget has a copy
// of its bundle in the notebook.
const often = {
  Math: ["max", "min", "round", "floor", "abs"],
  Array: ["isArray"],
  Object: ["entries"],
};
const calls = Object.entries(often);
const named = calls.map(
  ([of, names]) => `export const { ${names.map((name) => `${name}: $${name}`)} } = ${of};`,
);
const shortened = {
  name: "shortened",
  setup(build) {
    build.onResolve({ filter: /^shortened$/ }, ({ path }) => ({ path, namespace: path }));
    build.onLoad({ filter: /./, namespace: "shortened" }, () => ({ contents: named.join("\n") }));
  },
};

const options = {
  entryPoints: readdirSync(join(here, "src"))
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join(here, "src", name)),
  outdir,
  bundle: true,
  plugins: [shortened],
  inject: ["shortened"],
  define: Object.fromEntries(
    calls.flatMap(([of, names]) => names.map((name) => [`${of}.${name}`, `$${name}`])),
  ),
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
  // our getters only read, and what becomes text is a text, a number or plain data
  compress: { passes: 3, unsafe: true, unsafe_arrows: true, pure_getters: true },
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
