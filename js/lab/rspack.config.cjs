const { rspack } = require("@rspack/core");

// What the builder of JupyterLab's extensions does not do by itself.
module.exports = {
  resolve: { extensions: [".ts", ".js", ".json"] },
  // What two chunks need is in a third, however small.
  optimization: {
    splitChunks: { chunks: "async", minSize: 0 },
    minimizer: [
      new rspack.SwcJsMinimizerRspackPlugin({ minimizerOptions: { compress: { passes: 3 } } }),
      new rspack.LightningCssMinimizerRspackPlugin(),
    ],
  },
  module: {
    rules: [
      {
        test: /\.ts$/,
        loader: "builtin:swc-loader",
        options: { jsc: { parser: { syntax: "typescript" }, target: "es2022" } },
        type: "javascript/auto",
      },
      // import text from "./file?text"
      { resourceQuery: /text/, type: "asset/source" },
    ],
  },
};
