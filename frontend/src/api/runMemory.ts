/** The figure of memory that stands for a run: what its trainer holds, as the prediction counts it, never the whole GPU's; of several GPUs the one that held most. */

import { gpuOfSource } from "./gpuSource";
import type { Job } from "./types";

/** CUDA's context is in the first as in the prediction; the others are for where it is not told. */
const SOURCES = ["nvml.process", "torch.reserved", "torch.allocated", "host.rss"];

/** How well the figures of a source stand for a run: lower is better. */
export function standing(source: string): number {
  const place = SOURCES.indexOf(gpuOfSource(source).who);
  return place < 0 ? SOURCES.length : place;
}

export type RunMemory = {
  source: string;
  /** At the end of the newest step. */
  bytes: number;
  /** The highest of the whole run so far; unknown of jobs that ran before it was kept. */
  peakBytes: number | null;
};

export function runMemory({ latest, peaks }: Job): RunMemory | undefined {
  for (const who of SOURCES) {
    const found = (latest?.memory ?? [])
      .filter(({ source, bytes }) => bytes != null && gpuOfSource(source).who === who)
      .map(({ source, bytes }) => ({ source, bytes: bytes ?? 0, peakBytes: peaks[source] ?? null }));
    if (found.length > 0)
      return found.reduce((most, each) => (heightOf(each) > heightOf(most) ? each : most));
  }
  return undefined;
}

const heightOf = ({ bytes, peakBytes }: RunMemory) => peakBytes ?? bytes;
