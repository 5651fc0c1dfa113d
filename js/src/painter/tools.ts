// What a person paints with, in one view.

export const TOOLS = ["brush", "eraser", "rectangle", "lasso", "fill", "hand"] as const;
export type Tool = (typeof TOOLS)[number];

export interface Tools {
  tool: Tool;
  size: number; // pixels of the image across the brush
  soft: number; // the share of the brush's radius that fades, 0 to 1
  erase: boolean; // whether shapes and fills erase
  pressure: boolean; // whether a pen's pressure makes the brush wider
}

export const isErasing = ({ tool, erase }: Tools) =>
  tool === "eraser" || (erase && tool !== "brush" && tool !== "hand");
export const hasBrush = ({ tool }: Tools) => tool === "brush" || tool === "eraser";
