const { rspack } = require("@rspack/core");

// What the builder of JupyterLab's extensions does not do by itself.
module.exports = {
  resolve: { extensions: [".ts", ".js", ".json"] },
  // What two chunks need is in a third, however small.
  optimization: {
    splitChunks: { chunks: "async", minSize: 0 },
    minimizer: [
      new rspack.SwcJsMinimizerRspackPlugin({
        exclude: /standalone/, // as it was built
        minimizerOptions: { compress: { passes: 3 } },
      }),
      new rspack.LightningCssMinimizerRspackPlugin({ exclude: /standalone/ }),
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
      // Styles become texts in scripts, which no minimizer finds.
      {
        test: /\.css$/,
        enforce: "pre",
        loader: "builtin:lightningcss-loader",
        options: { minify: true },
      },
      // import text from "./file?text"
      { resourceQuery: /text/, type: "asset/source" },
      // import address from "-!./file?file"
      {
        resourceQuery: /file/,
        type: "asset/resource",
        generator: { filename: "[name].[contenthash][ext]" },
      },
    ],
  },
};
