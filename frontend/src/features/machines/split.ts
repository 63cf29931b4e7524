/** Who holds a GPU's memory: our jobs, other processes, what nobody is told for, the driver's reserve, and what is free. */

import type { Gpu } from "../../api/types";

export type Part = {
  key: string;
  kind: "job" | "process" | "untold" | "reserve" | "free";
  /** Null where the driver does not tell it. */
  bytes: number | null;
  job?: string;
  process?: Gpu["processes"][number];
};

/** Below this, what no process accounts for is the driver's bookkeeping and not worth a line. */
const NOTABLE_SHARE = 0.002;

/** Parts that sum to the GPU's total, what is not told of a process being among the untold; null where the driver does not tell its memory. */
export function split(gpu: Gpu): Part[] | null {
  const { total_bytes: total, used_bytes: used, free_bytes: free, reserved_bytes: reserve } = gpu;
  if (total === null || used === null || free === null) return null;
  const jobs = new Map<string, number | null>();
  const others: Part[] = [];
  for (const process of gpu.processes) {
    const bytes = process.used_bytes;
    if (process.job) {
      const before = jobs.get(process.job) ?? (jobs.has(process.job) ? null : 0);
      jobs.set(process.job, before === null || bytes === null ? null : before + bytes);
    } else if (bytes !== 0) others.push({ key: `process-${process.pid}`, kind: "process", bytes, process });
  }
  const held = [...jobs].map(([job, bytes]): Part => ({ key: job, kind: "job", bytes, job }));
  const told = [...held, ...others].reduce((sum, part) => sum + (part.bytes ?? 0), 0);
  const untold = Math.max(0, used - (reserve ?? 0) - told);
  const rest: (Part & { bytes: number })[] = [
    { key: "untold", kind: "untold", bytes: untold >= NOTABLE_SHARE * total ? untold : 0 },
    { key: "reserve", kind: "reserve", bytes: reserve ?? 0 },
    { key: "free", kind: "free", bytes: free },
  ];
  return [...held, ...others, ...rest.filter((part) => part.kind === "free" || part.bytes > 0)];
}
