/** Figures of steps as columns: a ring of the newest ones, and runs of points that the server summed up. */

import type { Metrics, StepEvent } from "../../api/types";

export type Figure = number | null;
export type Points = { mean: Figure[]; min: Figure[]; max: Figure[] };

export const EVALUATED = "evaluation_loss";
/** Evaluations by the step after which they were made. */
export type Evaluations = ReadonlyMap<number, number>;

const SCALARS = [
  "loss",
  "learning_rate",
  "grad_norm",
  "tokens_per_second",
  "step_seconds",
  "meter_seconds",
] as const;

/** A step's figures, by the names of the server's series. */
export function figuresOf(event: StepEvent): Map<string, number> {
  const found = new Map<string, number>();
  const put = (name: string, value: number | null | undefined) => {
    if (value !== null && value !== undefined) found.set(name, value);
  };
  for (const name of SCALARS) put(name, event[name]);
  for (const figure of event.memory) {
    put(`memory.${figure.source}`, figure.bytes);
    put(`memory_peak.${figure.source}`, figure.peak_bytes);
  }
  for (const figure of event.phases ?? [])
    put(`phase_peak.${figure.source}.${figure.phase}`, figure.peak_bytes);
  return found;
}

/** The newest steps, at most ``capacity`` of them; a step that is not after the last one is left out. */
export class StepRing {
  size = 0;
  private start = 0;
  private readonly steps: Float64Array;
  private readonly figures = new Map<string, Float64Array>();

  constructor(readonly capacity: number) {
    this.steps = new Float64Array(capacity);
  }

  get last(): number | null {
    return this.size === 0 ? null : (this.steps[this.place(this.size - 1)] ?? null);
  }

  names(): string[] {
    return [...this.figures.keys()];
  }

  push(step: number, figures: Map<string, number>) {
    if (this.last !== null && step <= this.last) return;
    if (this.size === this.capacity) {
      this.start = (this.start + 1) % this.capacity;
      this.size--;
    }
    const place = this.place(this.size++);
    this.steps[place] = step;
    for (const name of figures.keys())
      if (!this.figures.has(name)) this.figures.set(name, new Float64Array(this.capacity).fill(Number.NaN));
    for (const [name, column] of this.figures) column[place] = figures.get(name) ?? Number.NaN;
  }

  /** Forget the steps up to and including ``step``. */
  dropThrough(step: number) {
    while (this.size > 0 && (this.steps[this.start] ?? 0) <= step) {
      this.start = (this.start + 1) % this.capacity;
      this.size--;
    }
  }

  /** Step numbers after ``step``. */
  stepsAfter(step: number): number[] {
    return this.after(step, this.steps);
  }

  column(name: string, afterStep: number): Figure[] {
    const column = this.figures.get(name);
    if (!column) return this.stepsAfter(afterStep).map(() => null);
    return this.after(afterStep, column).map((value) => (Number.isNaN(value) ? null : value));
  }

  private place(index: number): number {
    return (this.start + index) % this.capacity;
  }

  private after(step: number, column: Float64Array): number[] {
    const found: number[] = [];
    for (let index = 0; index < this.size; index++) {
      const place = this.place(index);
      if ((this.steps[place] ?? 0) > step) found.push(column[place] ?? Number.NaN);
    }
    return found;
  }
}

/** What is drawn: runs of summed-up points in the order of their steps, then the newest steps one by one. */
export class Drawn {
  readonly steps: number[];
  private readonly runs: { metrics: Metrics; from: number; to: number }[];
  private readonly newestAfter: number;

  /** ``detail`` is a closer look at part of ``whole`` and replaces it there. */
  constructor(
    whole: Metrics | null,
    detail: Metrics | null,
    private readonly ring: StepRing,
    private readonly evaluations: Evaluations,
  ) {
    this.runs = whole ? layers(whole, detail) : [];
    this.steps = this.runs.flatMap(({ metrics, from, to }) => metrics.steps.slice(from, to));
    this.newestAfter = this.steps.at(-1) ?? -1;
    this.steps = this.steps.concat(ring.stepsAfter(this.newestAfter));
  }

  points(name: string): Points {
    if (name === EVALUATED) return this.evaluated();
    const newest = this.ring.column(name, this.newestAfter);
    const alone = newest.map(() => null); // a single step has no band
    const part = (kind: keyof Points): Figure[] => {
      const summed = this.runs.flatMap(({ metrics, from, to }) => {
        const column = metrics.series[name]?.[kind];
        return column ? column.slice(from, to) : new Array<Figure>(to - from).fill(null);
      });
      return summed.concat(kind === "mean" ? newest : alone);
    };
    return { mean: part("mean"), min: part("min"), max: part("max") };
  }

  /** Each evaluation stands at the point that holds its step. */
  private evaluated(): Points {
    const none = this.steps.map((): Figure => null);
    const mean = [...none];
    for (const [step, loss] of this.evaluations) {
      const place = this.steps.findIndex((last) => last >= step);
      if (place >= 0) mean[place] = loss;
    }
    return { mean, min: none, max: none };
  }
}

function layers(whole: Metrics, detail: Metrics | null) {
  const all = whole.steps.length;
  const first = detail?.steps[0];
  const last = detail?.steps.at(-1);
  if (!detail || first === undefined || last === undefined || detail.attempt !== whole.attempt)
    return [{ metrics: whole, from: 0, to: all }];
  return [
    { metrics: whole, from: 0, to: firstWhere(whole.steps, (step) => step >= first) },
    { metrics: detail, from: 0, to: detail.steps.length },
    { metrics: whole, from: firstWhere(whole.steps, (step) => step > last), to: all },
  ];
}

function firstWhere(steps: number[], holds: (step: number) => boolean): number {
  const found = steps.findIndex(holds);
  return found < 0 ? steps.length : found;
}
