/** What is wrong with a draft, by field: from the server's answers to the estimate (as one types) and the launch. */

import { ApiProblem, type FieldProblem } from "../../api/client";
import { problemText } from "../../i18n/problem";

export type Problems = {
  all: FieldProblem[];
  at: (path: string) => string | undefined;
  of: (path: string) => FieldProblem | undefined;
  under: (section: string) => boolean;
  /** Of no single field: of a section, or of several that do not go together. */
  general: FieldProblem[];
};

/** An estimate needs a model whose size is known; a launch does not, so this is no fault of the field. */
const ONLY_FOR_ESTIMATES = "model.id";

export function problemsOf(launch: unknown, estimate: unknown, fields: ReadonlySet<string>): Problems {
  const found = [
    ...errorsOf(launch),
    ...errorsOf(estimate).filter((error) => error.loc !== ONLY_FOR_ESTIMATES),
  ];
  const all = found.filter((error, index) => found.findIndex((other) => other.loc === error.loc) === index);
  const nearest = (loc: string) => [...fields].find((field) => loc === field || loc.startsWith(`${field}.`));
  const of = (path: string) => all.find((item) => nearest(item.loc) === path);
  return {
    all,
    of,
    at: (path) => {
      const error = of(path);
      return error && problemText(error);
    },
    under: (section) => all.some((error) => error.loc === section || error.loc.startsWith(`${section}.`)),
    general: all.filter((error) => !nearest(error.loc)),
  };
}

/** What is wrong, by the paths of the spec: an estimate is asked for with the spec as a part of its input. */
export function errorsOf(error: unknown): FieldProblem[] {
  if (!(error instanceof ApiProblem)) return [];
  return error.errors.map((item) => ({ ...item, loc: item.loc.replace(/^spec\./, "") }));
}
