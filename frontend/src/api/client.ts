/** Calls the REST API as the signed-in user; problems become ApiProblem with what happened and what to do next. */

import createClient from "openapi-fetch";
import { problemText } from "../i18n/problem";
import type { paths } from "./schema.gen";
import type { Sentence } from "./types";

export type FieldProblem = {
  loc: string;
  message: string;
  fix: string;
  /** A short name of what is wrong; ``values`` are what it is about. */
  type?: string;
  values?: Sentence["values"];
  /** The remedy as new values by dotted path, where one change is enough. */
  patch?: Record<string, string | number | boolean>;
};

export const HEADERS = { "X-Tunescope-CSRF": "1" };

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly fix: string,
    readonly errors: FieldProblem[],
    readonly detail_sentence?: Sentence | null,
    readonly fix_sentence?: Sentence | null,
  ) {
    super(detail);
  }

  /** The problem of one field, by its dotted path. */
  field(loc: string): string | undefined {
    const found = this.errors.find((error) => error.loc === loc);
    return found && problemText(found);
  }
}

/** Whether the server said no (not signed in, not there, not valid): asking again as it is will not help. */
export const isRefused = (error: unknown) =>
  error instanceof ApiProblem && error.status >= 400 && error.status < 500;

export const noAnswer = () =>
  new ApiProblem(0, "The server does not answer.", "Check that Tunescope is running.", []);

/** A problem from the body of an answer that is not ok (RFC 9457). */
export function problemOf(status: number, body: Partial<ApiProblem & { title: string }> = {}): ApiProblem {
  const detail = body.detail || body.title || `The server answered ${status}.`;
  const { fix = "", errors = [], detail_sentence, fix_sentence } = body;
  return new ApiProblem(status, detail, fix, errors, detail_sentence, fix_sentence);
}

/** The typed door: paths, parameters and answers are those of the server's OpenAPI schema. */
export const api = createClient<paths>({ headers: HEADERS });
api.use({
  onError: () => noAnswer(),
  async onResponse({ response }) {
    if (!response.ok) throw problemOf(response.status, await response.json().catch(() => ({})));
  },
});

/** The body of an answer; a problem was thrown before. */
export async function answer<T>(asked: Promise<{ data?: T }>): Promise<T> {
  return (await asked).data as T;
}

/** For answers that the schema leaves open (``additionalProperties``): the caller names the type. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api${path}`, {
      method,
      headers: { ...HEADERS, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw noAnswer();
  }
  if (!response.ok) throw problemOf(response.status, await response.json().catch(() => ({})));
  return (response.status === 204 ? undefined : await response.json()) as T;
}
