/** What the server says in sentences, in the reader's language: from its kind and values, else the English text itself. */

import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { Sentence } from "../api/types";
import { formatBytes } from "../units";
import chinese from "./zh-CN/sentences.json";

/** TypeScript fails here for a kind that has no words. The server itself says it in English. */
const WORDS: Partial<Record<string, string>> = chinese satisfies Record<Sentence["kind"], string>;

export type Said = Sentence | null | undefined;

/** What a field says: its sentence in the reader's language, or the English text beside it where there is none. */
export function useSaid(): (english: string, sentence: Said) => string {
  const { t, i18n } = useTranslation(["sentences", "anatomy", "job", "jobs"]);
  return (english, sentence) => (sentence && i18n.language !== "en" ? inWords(sentence, t) : english);
}

function inWords({ kind, text, values = {} }: Sentence, t: TFunction): string {
  // A worker of a newer release may say what this page has no words for, or with values that its words do not name so.
  const words = WORDS[kind];
  const shown = words && valuesInWords(words, values, t);
  return shown ? t(`sentences:${kind}`, { replace: shown }) : text;
}

/** What stands in the holes of some words; undefined where a value is missing, or of a type that is not known here. */
export function valuesInWords(words: string, values: Record<string, unknown>, t: TFunction) {
  const shown: Record<string, string> = {};
  for (const [, name = ""] of words.matchAll(/{{(\w+)}}/g)) {
    const told = valueInWords(name, values[name], t);
    if (told === undefined) return undefined;
    shown[name] = told;
  }
  return shown;
}

/** Bytes, phases and stages have words of their own, as has a sentence within a sentence. Undefined: of no known type. */
function valueInWords(name: string, value: unknown, t: TFunction): string | undefined {
  if (isSentence(value)) return inWords(value, t);
  if (Array.isArray(value) && value.every(isSentence))
    return value.map((item) => inWords(item, t)).join("；");
  if (typeof value === "number") return numberInWords(name, value);
  if (typeof value !== "string") return undefined;
  if (name === "state") return t(`jobs:${value}`, { defaultValue: value });
  if (name === "phase") return t(`anatomy:${value}`, { defaultValue: value });
  if (name === "stage") return t(`job:stage_${value.replaceAll(" ", "_")}`, { defaultValue: value });
  return value;
}

const isSentence = (value: unknown): value is Sentence =>
  typeof value === "object" && value !== null && "kind" in value && "text" in value;

function numberInWords(name: string, value: number): string {
  if (name.endsWith("_bytes")) return formatBytes(value);
  return name.endsWith("tokens") ? value.toLocaleString("en-US") : String(value);
}
