/** The figure of memory that stands for a run: what its trainer holds, as the prediction counts it, never the whole GPU's. */

import type { Job } from "./types";

/** CUDA's context is in the first as in the prediction; the others are for where it is not told. */
const SOURCES = ["nvml.process", "torch.reserved", "torch.allocated", "host.rss"];

export type RunMemory = {
  source: string;
  /** At the end of the newest step. */
  bytes: number;
  /** The highest of the whole run so far; unknown of jobs that ran before it was kept. */
  peakBytes: number | null;
};

export function runMemory({ latest, peaks }: Job): RunMemory | undefined {
  for (const source of SOURCES) {
    const figure = latest?.memory?.find((item) => item.source === source);
    if (figure?.bytes != null) return { source, bytes: figure.bytes, peakBytes: peaks[source] ?? null };
  }
  return undefined;
}
