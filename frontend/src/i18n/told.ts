/** What the server tells in English sentences, such as why a figure is missing, in the reader's language. */

import i18next, { type TFunction } from "i18next";
import { useTranslation } from "react-i18next";

const NAMESPACE = "told";
const HOLE = /\{\{(\w+)\}\}/g;

/** A sentence that we know, with holes such as {{step}} for what changes, and what it says in another language. */
type Known = { pattern: RegExp; text: string };

const byLanguage = new Map<string, Known[]>();

/** Keys of the language's words are the English sentences themselves; English has none, so that they stay as they are. */
function known(language: string): Known[] {
  const before = byLanguage.get(language);
  if (before) return before;
  const words = (i18next.getResourceBundle(language, NAMESPACE) ?? {}) as Record<string, string>;
  const found = Object.entries(words)
    // A sentence with a further clause also fits the pattern of the shorter one: the longest is tried first.
    .sort(([one], [other]) => other.length - one.length)
    .map(([sentence, text]) => ({ pattern: patternOf(sentence), text }));
  byLanguage.set(language, found);
  return found;
}

function patternOf(sentence: string): RegExp {
  const literal = sentence.split(HOLE).map((part, index) => (index % 2 ? `(?<${part}>.+?)` : escaped(part)));
  return new RegExp(`^${literal.join("")}$`);
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Lines of a text one by one; one that we do not know stays as it was told. */
export function useTold(): (text: string) => string {
  const { t, i18n } = useTranslation(["anatomy", "job"]);
  const line = (said: string): string => {
    for (const { pattern, text } of known(i18n.language)) {
      const match = pattern.exec(said);
      if (match)
        return text.replace(HOLE, (_, hole: string) => filled(hole, match.groups?.[hole] ?? "", t, line));
    }
    return said;
  };
  return (text) => text.split("\n").map(line).join("\n");
}

/** Phases and stages have words of their own; anything else may be a sentence again. */
function filled(hole: string, said: string, t: TFunction, line: (said: string) => string): string {
  if (hole === "phase") return t(`anatomy:${said}`, { defaultValue: said });
  if (hole === "stage") return t(`job:stage_${said.replaceAll(" ", "_")}`, { defaultValue: said });
  return line(said);
}
