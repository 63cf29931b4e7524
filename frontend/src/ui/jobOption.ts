import type { Job } from "../api/types";
import { formatAgo } from "../units";

/** What a job is called where one is chosen: jobs are often called alike, and when they were made tells them apart. */
export function jobOption(job: Job): string {
  return `${job.name} · ${formatAgo(job.created_at)}`;
}
