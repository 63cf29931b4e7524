import type { Estimate } from "../../api/types";

export type Fit = "fits" | "tight" | "no" | "unknown";

export const FIT_COLOURS: Record<Fit, string> = { fits: "teal", tight: "yellow", no: "red", unknown: "gray" };

/** Against bytes that are free: the whole band of the estimate fits, only part of it does, or none. */
export function fitOf(estimate: Estimate, freeBytes: number | null): Fit {
  if (freeBytes === null) return "unknown";
  const [low, high] = estimate.interval ?? [estimate.total_bytes, estimate.total_bytes];
  if (high <= freeBytes) return "fits";
  return low <= freeBytes ? "tight" : "no";
}
