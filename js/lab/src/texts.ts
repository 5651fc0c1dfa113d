// The extension's own texts, in the language that a person has chosen.

import { type ITranslator, nullTranslator, type TranslationBundle } from "@jupyterlab/translation";
import type { IPreferences } from "./tokens";

/** Translates a text, or the one of two texts that suits a number. */
export type Texts = Pick<TranslationBundle, "__" | "_n">;

/**
 * Returns the translations: JupyterLab's language, or English if the settings say so. They are
 * looked up at each call, so what is drawn again after a change has the new language.
 */
export function texts(translator: ITranslator | null, preferences: IPreferences | null): Texts {
  const english = nullTranslator.load("sdwidgets");
  const theirs = translator?.load("sdwidgets") ?? english;
  const bundle = () => (preferences?.language === "en" ? english : theirs);
  return {
    __: (text, ...values) => bundle().__(text, ...values),
    _n: (one, many, count, ...values) => bundle()._n(one, many, count, ...values),
  };
}
