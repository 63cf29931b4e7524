import i18next from "i18next";
import type { FieldProblem } from "../api/client";
import { valuesInWords } from "./sentence";
import chinese from "./zh-CN/problems.json";

/** By the server's name of what is wrong. The server itself says it in English. */
const WORDS: Partial<Record<string, string>> = chinese;

/** What is wrong with a field and what to do, in the reader's language. */
export function problemText({ message, fix, type = "", values = {} }: FieldProblem): string {
  const english = [message, fix].filter(Boolean).join(" – ");
  const words = i18next.language === "en" ? undefined : WORDS[type];
  const shown = words && valuesInWords(words, values, i18next.t);
  return shown ? i18next.t(type, { ns: "problems", replace: shown }) : english;
}

/** The same with the path of the field, for where it does not stand beside it. */
export function placedText(problem: FieldProblem): string {
  return problem.loc ? `${problem.loc}: ${problemText(problem)}` : problemText(problem);
}
