import i18next from "i18next";
import type { FieldProblem } from "../api/client";

/** What is wrong with a field and what to do, in the reader's language where the server gave the problem a name. */
export function problemText(error: FieldProblem): string {
  const english = [error.message, error.fix].filter(Boolean).join(" – ");
  if (!error.type) return english;
  return i18next.t(error.type, { ...error.values, ns: "problems", defaultValue: english });
}
