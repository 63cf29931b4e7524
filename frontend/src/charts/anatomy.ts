/** Geometry of StepAnatomy: where points, layers and phases lie. Pure functions; bytes in, pixels out. */

export type AnatomyPoint = {
  phase: string;
  bytes_by_category: Record<string, number>;
  /** Since the step began. Where any point lacks it, points are spaced evenly. */
  seconds?: number;
};

export type Band = { phase: string; from: number; to: number };

export function totalOf(point: AnatomyPoint): number {
  return Object.values(point.bytes_by_category).reduce((sum, bytes) => sum + bytes, 0);
}

export function indexOfPeak(points: AnatomyPoint[]): number {
  let peak = 0;
  const totals = points.map(totalOf);
  totals.forEach((total, index) => {
    if (total > (totals[peak] ?? 0)) peak = index;
  });
  return peak;
}

/** Left edge of every point as a share of the step, and 1 at the end: a point's bytes hold until the next one. */
export function edgesOf(points: AnatomyPoint[]): number[] {
  const count = points.length;
  const times = points.map((point) => point.seconds);
  const first = times[0];
  const last = times[count - 1];
  if (first === undefined || last === undefined || last <= first || times.includes(undefined))
    return Array.from({ length: count + 1 }, (_, index) => index / Math.max(1, count));
  const end = last + (last - first) / Math.max(1, count - 1);
  return [...times.map((time) => ((time ?? first) - first) / (end - first)), 1];
}

/** Runs of points of one phase, as shares of the step. */
export function bandsOf(points: AnatomyPoint[], edges: number[]): Band[] {
  const bands: Band[] = [];
  points.forEach((point, index) => {
    const to = edges[index + 1] ?? 1;
    const current = bands.at(-1);
    if (current?.phase === point.phase) current.to = to;
    else bands.push({ phase: point.phase, from: edges[index] ?? 0, to });
  });
  return bands;
}

export type Layer = { category: string; path: string };

/** One closed SVG path for each category, stacked in the given order and stepped: memory changes at once. */
export function layersOf(
  points: AnatomyPoint[],
  categories: string[],
  x: (index: number) => number,
  y: (bytes: number) => number,
): Layer[] {
  const floor = points.map(() => 0);
  return categories.map((category) => {
    const upper: string[] = [];
    const lower: string[] = [];
    points.forEach((point, index) => {
      const bottom = floor[index] ?? 0;
      const top = bottom + (point.bytes_by_category[category] ?? 0);
      floor[index] = top;
      const [left, right] = [x(index).toFixed(1), x(index + 1).toFixed(1)];
      upper.push(`${left},${y(top).toFixed(1)} ${right},${y(top).toFixed(1)}`);
      lower.push(`${right},${y(bottom).toFixed(1)} ${left},${y(bottom).toFixed(1)}`);
    });
    return { category, path: `M${upper.join(" ")} ${lower.reverse().join(" ")}Z` };
  });
}

/** Zero and two to six round values up to `most`, a power of two apart, so that labels stay short. */
export function ticksUpTo(most: number): number[] {
  const wanted = most / 4;
  const power = 2 ** Math.floor(Math.log2(Math.max(1, wanted)));
  const step = wanted > 1.5 * power ? 2 * power : power;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
}

export type PhasePeak = { phase: string; bytes: number; ledger: Record<string, number> };

/** The highest moment of each phase, in the order in which phases first appear. */
export function peaksByPhase(points: AnatomyPoint[]): PhasePeak[] {
  const peaks = new Map<string, PhasePeak>();
  for (const point of points) {
    const bytes = totalOf(point);
    if (bytes >= (peaks.get(point.phase)?.bytes ?? 0))
      peaks.set(point.phase, { phase: point.phase, bytes, ledger: point.bytes_by_category });
  }
  return [...peaks.values()];
}
