import { useState } from "react";

type Asked<T> = { data: T | undefined; error: unknown; isPending: boolean };
type Answer<T> = { data?: T; error: unknown };

/** What was answered last, data or problem, until the next answer is there: neither flickers while one types or it is asked again. */
export function useLastAnswer<T>({ data, error, isPending }: Asked<T>): Answer<T> {
  const [last, setLast] = useState<Answer<T>>({ error: null });
  if (isPending) return last;
  const now = { data, error };
  if (last.data !== data || last.error !== error) setLast(now);
  return now;
}
