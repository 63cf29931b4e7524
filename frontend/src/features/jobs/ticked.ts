/** The jobs that are ticked, kept for the browser tab: a look at one of them, or another filter, unticks none. */

import { useQueries } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { ApiProblem, call } from "../../api/client";
import type { Job } from "../../api/types";
import { MOST_RUNS } from "../../charts/TimeSeries";
import { labelOf } from "../../ui/jobOption";

const STORED = "tunescope.ticked";

export type Ticked = {
  ids: string[];
  /** Their names, as far as they are known by now. */
  names: string[];
  tick: (id: string, on: boolean) => void;
  clear: () => void;
};

/** ``listed``: the jobs at hand. The others are asked for, and one that was deleted meanwhile is no longer ticked. */
export function useTicked(listed: Job[]): Ticked {
  const [ids, setIds] = useState(stored);
  useEffect(() => sessionStorage.setItem(STORED, JSON.stringify(ids)), [ids]);
  const elsewhere = ids.filter((id) => !listed.some((job) => job.id === id));
  const asked = useQueries({
    queries: elsewhere.map((id) => ({
      queryKey: ["ticked", id],
      queryFn: () => call<Job>("GET", `/jobs/${encodeURIComponent(id)}`),
    })),
  });
  const gone = elsewhere.filter((_, index) => isGone(asked[index]?.error));
  useEffect(() => {
    if (gone.length > 0) setIds((before) => before.filter((id) => !gone.includes(id)));
  });
  const known = [...listed, ...asked.flatMap(({ data }) => (data ? [data] : []))];
  const jobs = ids.flatMap((id) => known.find((job) => job.id === id) ?? []);
  return {
    ids,
    names: jobs.map((job) => labelOf(job, jobs)),
    tick: (id, on) => setIds((before) => [...before.filter((other) => other !== id), ...(on ? [id] : [])]),
    clear: () => setIds([]),
  };
}

/** What the page of losses is asked for; undefined where it can draw none of them, or not all. */
export function lossesOf(ids: string[]): { runs: string } | undefined {
  return ids.length > 0 && ids.length <= MOST_RUNS ? { runs: ids.join(",") } : undefined;
}

const isGone = (error: unknown) => error instanceof ApiProblem && error.status === 404;

function stored(): string[] {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(STORED) ?? "");
    if (Array.isArray(found)) return found.filter((id) => typeof id === "string");
  } catch {
    // Nothing kept.
  }
  return [];
}
