/** The last minutes of every GPU as this page saw them; gone when the page is closed. */

import type { Machine } from "../../api/types";

export type Sample = { at: number; used: number | null };

const KEPT_SECONDS = 300;
const seen = new Map<string, Sample[]>();

export function remember(machines: Machine[]) {
  for (const { at, gpus } of machines) {
    for (const gpu of gpus) {
      const samples = seen.get(gpu.uuid) ?? [];
      if (samples.at(-1)?.at !== at) samples.push({ at, used: gpu.used_bytes });
      seen.set(
        gpu.uuid,
        samples.filter((sample) => sample.at > at - KEPT_SECONDS),
      );
    }
  }
}

export const historyOf = (uuid: string): Sample[] => seen.get(uuid) ?? [];
