/** Calls the REST API as the signed-in user; problems become ApiProblem with what happened and what to do next. */

export type FieldProblem = { loc: string; message: string; fix: string };

export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
    readonly fix: string,
    readonly errors: FieldProblem[],
  ) {
    super(detail);
  }

  /** The problem of one field, by its dotted path. */
  field(loc: string): string | undefined {
    const found = this.errors.find((error) => error.loc === loc);
    return found && [found.message, found.fix].filter(Boolean).join(" – ");
  }
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const form = body instanceof FormData;
  let response: Response;
  try {
    response = await fetch(`/api${path}`, {
      method,
      headers: {
        "X-Tunescope-CSRF": "1",
        ...(body !== undefined && !form ? { "Content-Type": "application/json" } : {}),
      },
      body: body === undefined ? undefined : form ? body : JSON.stringify(body),
    });
  } catch {
    throw new ApiProblem(0, "The server does not answer.", "Check that Tunescope is running.", []);
  }
  if (!response.ok) throw await problemOf(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function problemOf(response: Response): Promise<ApiProblem> {
  const body = await response.json().catch(() => ({}));
  const detail = body.detail || body.title || `The server answered ${response.status}.`;
  return new ApiProblem(response.status, detail, body.fix ?? "", body.errors ?? []);
}
