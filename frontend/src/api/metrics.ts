/** The figures of a run's steps, summed up by the server to as many points as a chart shows. */

import { answer, api } from "./client";
import type { Metrics } from "./types";

/** Points of a whole run. */
export const HISTORY_POINTS = 1000;

export function metricsOf(
  jobId: string,
  query: { from?: number; to?: number; points: number } = { points: HISTORY_POINTS },
): Promise<Metrics> {
  return answer(api.GET("/api/jobs/{job_id}/metrics", { params: { path: { job_id: jobId }, query } }));
}
