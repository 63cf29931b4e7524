/** What a job's page knows of its run, kept outside React and bounded: history from /metrics, then live steps and log lines. */

import { isRefused } from "../../api/client";
import { followJob } from "../../api/follow";
import { HISTORY_POINTS, metricsOf } from "../../api/metrics";
import type { EvaluationEvent, JobEvent, LogEvent, Metrics, StepEvent } from "../../api/types";
import { type Listener, subscribe } from "../../charts/listeners";
import { Drawn, EVALUATED, figuresOf, StepRing } from "./columns";
import { LogLines } from "./logLines";

export const KEPT_STEPS = 2048;
/** How much of a frame may go to charts; those left over are drawn in the next ones, so that the page stays smooth. */
const FRAME_MILLISECONDS = 5;
/** When this share of the ring is full, the history is asked for again, and takes the steps over. */
const RELOAD_SHARE = 0.75;
/** Least time between two rounds over the charts; the first change after a while is drawn at once. */
const ROUND_MILLISECONDS = 80;
const RETRY_MILLISECONDS = 2000;
const SNAPSHOT_MILLISECONDS = 250;
const DETAIL_MILLISECONDS = 120;

export type Range = { min: number; max: number };
/** What React draws from; changes a few times a second at most. */
export type Snapshot = {
  attempt: number;
  step: number | null;
  names: string;
  range: Range | null;
  loaded: boolean;
};

export class LiveJob {
  readonly lines: LogLines;
  range: Range | null = null;
  private attempt = 0;
  /** The attempt that the job is at, as its page has it; a stream ends with the one before. */
  private newest = 0;
  private ended = false;
  private whole: Metrics | null = null;
  private detail: Metrics | null = null;
  private ring = new StepRing(KEPT_STEPS);
  private evaluations = new Map<number, number>();
  private loaded = false;
  private loading = false;
  private stopped = false;
  private drawn: Drawn | null = null;
  private kept: Snapshot = { attempt: 0, step: null, names: "", range: null, loaded: false };
  private stopFollowing: (() => void) | undefined;
  private frame = 0;
  private roundAt = 0;
  private timers = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly frames = new Set<Listener>();
  private readonly waiting = new Set<Listener>();
  private readonly snapshots = new Set<Listener>();

  /** ``onNews`` hears of everything that is neither a step nor a log line, and of the end. */
  constructor(
    readonly jobId: string,
    private readonly onNews: (event: JobEvent | null) => void,
  ) {
    this.lines = new LogLines(jobId);
  }

  /** Also after a stop: what happened meanwhile comes with the history, not event by event. */
  start() {
    this.stopped = this.ended = false;
    const again = this.loaded;
    void this.loadWhole().then(() => {
      if (this.stopped || this.stopFollowing) return;
      if (again) void this.lines.catchUp();
      this.stopFollowing = followJob(
        this.jobId,
        this.whole?.position ?? null,
        (event) => this.take(event),
        () => {
          this.ended = true;
          this.onNews(null);
          this.goOn();
        },
      );
    });
  }

  /** The job runs again, whoever wished it: what was followed to its end is followed anew. */
  attemptIs(attempt: number) {
    this.newest = attempt;
    this.goOn();
  }

  private goOn() {
    if (!this.ended || this.stopped || this.newest <= this.attempt) return;
    this.stopFollowing = undefined;
    this.start();
  }

  stop() {
    this.stopped = true;
    this.stopFollowing?.();
    this.stopFollowing = undefined;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  /** Called before one of the next frames is drawn, if anything has changed. */
  onFrame = (listener: Listener) => subscribe(this.frames, listener);
  onSnapshot = (listener: Listener) => subscribe(this.snapshots, listener);
  snapshot = () => this.kept;

  data(): Drawn {
    this.drawn ??= new Drawn(this.whole, this.detail, this.ring, this.evaluations);
    return this.drawn;
  }

  /** First and last step that there is. */
  extent(): Range | null {
    const { steps } = this.data();
    const [min] = steps;
    const max = steps.at(-1);
    return min === undefined || max === undefined ? null : { min, max };
  }

  /** Look at some steps only; null is all of them. Points finer than those at hand are asked for. */
  look(range: Range | null) {
    this.range = range;
    if (range === null) this.detail = null;
    else this.soon("detail", DETAIL_MILLISECONDS, () => void this.loadDetail(range));
    this.changed(true);
  }

  private take(event: JobEvent) {
    if (event.attempt > this.attempt) {
      const another = this.attempt > 0;
      this.begin(event.attempt);
      if (another) void this.loadWhole(); // the steps that it goes on from
    }
    if (event.attempt < this.attempt) return;
    if (event.kind === "step") {
      const step = event as StepEvent;
      this.ring.push(step.step, figuresOf(step));
      if (this.ring.size > KEPT_STEPS * RELOAD_SHARE && !this.loading) void this.loadWhole();
      this.changed();
    } else if (event.kind === "log") this.lines.add(event as LogEvent);
    else {
      if (event.kind === "evaluation") this.evaluate([event as EvaluationEvent]);
      this.onNews(event);
    }
  }

  private evaluate(told: { step: number; loss?: number | null }[]) {
    for (const { step, loss } of told) if (loss != null) this.evaluations.set(step, loss);
    this.changed();
  }

  private begin(attempt: number) {
    if (this.attempt > 0) {
      this.whole = this.detail = this.range = null;
      this.ring = new StepRing(KEPT_STEPS);
      this.evaluations.clear();
      this.lines.clear();
    }
    this.attempt = attempt;
    this.changed(true);
  }

  private async loadWhole() {
    this.loading = true;
    try {
      const found = await metricsOf(this.jobId);
      if (this.stopped || found.attempt < this.attempt) return;
      if (found.attempt > this.attempt) this.begin(found.attempt);
      this.whole = found;
      if (found.last_step !== null) this.ring.dropThrough(found.last_step);
      this.evaluate(found.evaluations);
      this.loaded = true;
      this.changed(true);
    } catch (error) {
      // The page shows the job's own problem; figures come back with the server, but not of a job that is not there.
      if (isRefused(error)) this.stopped = true;
      if (!this.stopped) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
        if (!this.stopped && !this.loaded) await this.loadWhole();
      }
    } finally {
      this.loading = false;
    }
  }

  /** Half a screen more on either side, so that a small move shows fine points at once. */
  private async loadDetail(range: Range) {
    if (!this.whole || this.whole.steps_per_point === 1) return;
    const margin = (range.max - range.min) / 2;
    const from = Math.max(0, Math.floor(range.min - margin));
    const to = Math.max(from, Math.ceil(range.max + margin));
    const found = await metricsOf(this.jobId, { from, to, points: 2 * HISTORY_POINTS }).catch(() => null);
    if (this.stopped || !found || this.range !== range) return;
    this.detail = found;
    this.changed();
  }

  /** Draw at the next frame, and tell React soon, or at once. */
  private changed(atOnce = false) {
    this.drawn = null;
    for (const listener of this.frames) this.waiting.add(listener);
    if (this.frame === 0 && !this.timers.has("round"))
      this.soon("round", Math.max(0, this.roundAt + ROUND_MILLISECONDS - performance.now()), () => {
        this.roundAt = performance.now();
        this.frame ||= requestAnimationFrame(this.draw);
      });
    if (atOnce) this.tell();
    else if (!this.timers.has("snapshot")) this.soon("snapshot", SNAPSHOT_MILLISECONDS, () => this.tell());
  }

  private draw = () => {
    const began = performance.now();
    for (const listener of this.waiting) {
      this.waiting.delete(listener);
      if (this.frames.has(listener)) listener();
      if (performance.now() - began > FRAME_MILLISECONDS) break;
    }
    this.frame = this.waiting.size > 0 ? requestAnimationFrame(this.draw) : 0;
  };

  private tell() {
    const evaluated = this.evaluations.size > 0 ? [EVALUATED] : [];
    const names = [...new Set([...Object.keys(this.whole?.series ?? {}), ...this.ring.names(), ...evaluated])]
      .sort()
      .join("\n");
    // Until an attempt has taken a step of its own, that of the checkpoint that it goes on from.
    const step = this.ring.last ?? this.whole?.steps.at(-1) ?? null;
    this.kept = { attempt: this.attempt, step, names, range: this.range, loaded: this.loaded };
    for (const listener of this.snapshots) listener();
  }

  private soon(name: string, milliseconds: number, act: () => void) {
    clearTimeout(this.timers.get(name));
    const timer = setTimeout(() => {
      this.timers.delete(name);
      act();
    }, milliseconds);
    this.timers.set(name, timer);
  }
}
