// The lessons, by the names of their notebooks. The notebooks themselves are loaded when one is
// opened.

import type { Texts } from "./texts";

export interface Lesson {
  /** The name of its notebook, without .ipynb. */
  name: string;
  title: string;
  summary: string;
}

/** Returns all lessons, in the order in which they are taught. */
export function lessons(trans: Texts): Lesson[] {
  return [
    {
      name: "01_first_picture",
      title: trans.__("From a prompt to an image"),
      summary: trans.__("Make images, then look at the loop that makes them."),
    },
    {
      name: "02_denoising",
      title: trans.__("From noise to an image"),
      summary: trans.__("Noise levels, the network's prediction, guidance and samplers."),
    },
    {
      name: "03_cross_attention",
      title: trans.__("Where each word looks"),
      summary: trans.__("Tokens and cross-attention: which part of the image a word attends to."),
    },
    {
      name: "04_autoencoder",
      title: trans.__("What the autoencoder keeps"),
      summary: trans.__("Latents, what is lost in them, and what happens when you edit them."),
    },
    {
      name: "05_train_your_own",
      title: trans.__("Train your own"),
      summary: trans.__("A small model from scratch, on images that you make, in minutes."),
    },
    {
      name: "06_change_a_run",
      title: trans.__("Change a run"),
      summary: trans.__("Samplers, variations, branches, and edits that keep the layout."),
    },
    {
      name: "07_one_idea_many_systems",
      title: trans.__("One idea, many systems"),
      summary: trans.__("Classes, boxes, label maps, holes and neighbours: any conditioning."),
    },
  ];
}
