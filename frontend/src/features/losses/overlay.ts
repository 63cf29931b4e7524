/** The losses of several runs over the same steps, as one source of a chart. */

import type { Metrics } from "../../api/types";
import { type Listener, subscribe } from "../../charts/listeners";
import type { Points, Range, Source } from "../../charts/TimeSeries";

type Figure = number | null;
export type Run = { id: string; metrics: Metrics };

/** Share of the mean so far that a point keeps when curves are smoothed. */
const KEPT = 0.9;

export const lossOf = (id: string) => `loss:${id}`;
export const evaluationOf = (id: string) => `evaluation:${id}`;

export class Overlay implements Source {
  range: Range | null = null;
  private steps: number[] = [];
  private columns = new Map<string, Figure[]>();
  private readonly listeners = new Set<Listener>();

  /** Draw these runs, each at its own steps. */
  show(runs: Run[], smooth: boolean) {
    const curves = runs.flatMap(({ id, metrics }) => {
      const means = metrics.series.loss?.mean ?? [];
      const evaluations = metrics.evaluations.map(({ step, loss }) => [step, loss] as const);
      return [
        { name: lossOf(id), told: paired(metrics.steps, smooth ? smoothed(means) : means) },
        { name: evaluationOf(id), told: new Map(evaluations) },
      ];
    });
    this.steps = [...new Set(curves.flatMap(({ told }) => [...told.keys()]))].sort(
      (one, other) => one - other,
    );
    this.columns = new Map(
      curves.map(({ name, told }) => [name, this.steps.map((step) => told.get(step) ?? null)]),
    );
    this.tell();
  }

  data() {
    const none = this.steps.map((): Figure => null); // bands of several runs would hide each other
    const points = (name: string): Points => ({ mean: this.columns.get(name) ?? none, min: none, max: none });
    return { steps: this.steps, points };
  }

  extent(): Range | null {
    const [min] = this.steps;
    const max = this.steps.at(-1);
    return min === undefined || max === undefined ? null : { min, max };
  }

  onFrame = (listener: Listener) => subscribe(this.listeners, listener);

  look = (range: Range | null) => {
    this.range = range;
    this.tell();
  };

  private tell() {
    for (const listener of this.listeners) listener();
  }
}

function paired(steps: number[], values: Figure[]): Map<number, Figure> {
  return new Map(steps.map((step, index) => [step, values[index] ?? null]));
}

/** The running mean that weighs a point the less the longer it is ago; the first points do not lean towards zero. */
export function smoothed(values: Figure[]): Figure[] {
  let sum = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = KEPT * sum + (1 - KEPT) * value;
    weight = KEPT * weight + (1 - KEPT);
    return sum / weight;
  });
}
