// What the builder of JupyterLab's extensions does not do by itself.
module.exports = {
  resolve: { extensions: [".ts", ".js", ".json"] },
  module: {
    rules: [
      { test: /\.ts$/, loader: "builtin:swc-loader", type: "javascript/auto" },
      // import text from "./file?text"
      { resourceQuery: /text/, type: "asset/source" },
    ],
  },
};
