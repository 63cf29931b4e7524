import type { Job } from "../api/types";
import { formatAgo } from "../units";

/** What jobs are called where one is chosen: many are called alike, so when they were made is told too, and the id where that is alike as well. */
export function jobOptions(jobs: Job[]): { value: string; label: string }[] {
  const told = jobs.map((job) => ({ value: job.id, label: `${job.name} · ${formatAgo(job.created_at)}` }));
  const times = new Map<string, number>();
  for (const { label } of told) times.set(label, (times.get(label) ?? 0) + 1);
  return told.map(({ value, label }) => ({
    value,
    label: (times.get(label) ?? 0) > 1 ? `${label} · ${value}` : label,
  }));
}

/** A job's name; with its id where another of them is called the same. */
export function labelOf(job: Job, among: Job[]): string {
  const alone = among.every(({ id, name }) => name !== job.name || id === job.id);
  return alone ? job.name : `${job.name} (${job.id})`;
}
