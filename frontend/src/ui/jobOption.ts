import type { Job } from "../api/types";
import { formatAgo } from "../units";

/** What a job is called where one is chosen: jobs are often called alike, and when they were made tells them apart. */
export function jobOption(job: Job): string {
  return `${job.name} · ${formatAgo(job.created_at)}`;
}

/** A job's name; with its id where another of them is called the same. */
export function labelOf(job: Job, among: Job[]): string {
  const alone = among.every(({ id, name }) => name !== job.name || id === job.id);
  return alone ? job.name : `${job.name} (${job.id})`;
}
