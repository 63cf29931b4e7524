/** The runs whose losses are laid over each other: in the address, by their ids. */

import { keepPreviousData, useQueries, useQuery } from "@tanstack/react-query";
import { answer, api, call, isRefused } from "../../api/client";
import { metricsOf } from "../../api/metrics";
import { type Job, type Metrics, TERMINAL } from "../../api/types";
import { MOST_RUNS } from "../../charts/TimeSeries";

const OFFERED = 50;
const REFRESH_MILLISECONDS = 4000;

/** The runs that an address asks for: those that are drawn, and how many are too many. */
export function wantedOf(text = ""): { ids: string[]; leftOut: number } {
  const wanted = [...new Set(text.split(",").filter(Boolean))];
  return { ids: wanted.slice(0, MOST_RUNS), leftOut: Math.max(0, wanted.length - MOST_RUNS) };
}

/** The newest jobs with ``text`` in their names, or with it as their id. */
export function useOffered(text: string): Job[] {
  const query = { q: text || undefined, limit: OFFERED };
  const jobs = useQuery({
    queryKey: ["jobs-to-lay-over", query],
    queryFn: () =>
      answer(api.GET("/api/jobs", { params: { query } })) as unknown as Promise<{ items: Job[] }>,
    placeholderData: keepPreviousData,
  });
  return jobs.data?.items ?? [];
}

/** What is known of a chosen run by now. */
export type Chosen = { id: string; job?: Job; metrics?: Metrics; error: unknown };

/** The chosen runs; those that still train are asked again and again. */
export function useChosen(ids: string[]): Chosen[] {
  return useQueries({
    queries: ids.map((id) => ({
      queryKey: ["run-to-lay-over", id],
      queryFn: () => runOf(id),
      refetchInterval: ({ state }: { state: { data?: { job: Job }; error: unknown } }) =>
        isRefused(state.error) || (state.data && TERMINAL.has(state.data.job.state))
          ? (false as const)
          : REFRESH_MILLISECONDS,
    })),
    combine: (found) => found.map(({ data, error }, index) => ({ id: ids[index] ?? "", ...data, error })),
  });
}

async function runOf(id: string): Promise<{ job: Job; metrics: Metrics }> {
  // One after the other: the figures of a job that has ended are then whole, and nobody asks for them again.
  const job = await call<Job>("GET", `/jobs/${encodeURIComponent(id)}`);
  const metrics = await metricsOf(id);
  return { job, metrics };
}
