/** What crosses the wire. Shapes the server declares come from its OpenAPI schema (`npm run client`). */

import type { components } from "./schema.gen";

type Schemas = components["schemas"];
/** What the server sends: a field with a default is optional to write, but always there to read. */
type Told<T> = T extends (infer Item)[]
  ? Told<Item>[]
  : T extends object
    ? string extends keyof T
      ? T
      : { [Key in keyof T]-?: Told<Exclude<T[Key], undefined>> }
    : T;
export type JobState = Schemas["JobState"];
export type FailureReason = Schemas["FailureReason"];
export type Sentence = Schemas["Sentence"];
export type MemoryFigure = Schemas["MemoryFigure"];
export type Me = Schemas["Me"];
export type User = Schemas["User"];
export type Token = Schemas["Token"];
export type Dataset = Schemas["Dataset"];
export type LibraryModel = Schemas["Model-Output"];
export type JobSpec = Schemas["JobSpec"];
export type Gpu = Told<Schemas["GpuReport"]>;
export type Machine = Told<Schemas["Machine"]>;
export type Metrics = Schemas["Metrics"];
export type StepEvent = Told<Schemas["StepEvent"]>;
export type EvaluationEvent = Schemas["EvaluationEvent"];
export type Trace = Told<Schemas["Trace"]>;
export type TraceStatus = Told<Schemas["TraceStatus"]>;
export type MeasuredLedger = Schemas["MeasuredLedger"];
export type CategoryComparison = Schemas["CategoryComparison"];
export type AccuracyItem = Schemas["AccuracyItem"];
/** TypeScript sees the answer's triple as a list. */
export type Calibration = Omit<Schemas["Calibration"], "fragmentation_share"> & {
  fragmentation_share: number[];
};
export type ChatReadyEvent = Told<Schemas["ChatReadyEvent"]>;
export type ChatTakenEvent = Told<Schemas["ChatTakenEvent"]>;
export type ChatAnswerEvent = Told<Schemas["ChatAnswerEvent"]>;
export type ChatMessage = Schemas["Message"];
export type NewMessage = Schemas["NewMessage"];
export type LogEvent = Told<Schemas["LogEvent"]>;

export const TERMINAL: ReadonlySet<JobState> = new Set(["succeeded", "failed", "cancelled"]);

export type Spec = {
  name: string;
  model: { id: string; source: string; revision: string | null };
  data: { dataset: string; [field: string]: unknown };
  [section: string]: unknown;
};

/** A GPU of this server beside an estimate: whether the whole card is enough, and whether what is free is. */
export type ServerGpu = {
  machine: string;
  uuid: string;
  index: number;
  name: string;
  total_bytes: number | null;
  free_bytes: number | null;
  unusable_because: string | null;
  unusable_sentence: Sentence | null;
  fits: boolean | null;
  fits_now: boolean | null;
};

export type Estimate = {
  total_bytes: number;
  ledger: Record<string, number>;
  device: { name: string; total_bytes: number };
  fits: boolean;
  fit: "yes" | "tight" | "no";
  tier?: "formula" | "trace" | "probe";
  /** None with a probe of an older release. */
  assumptions?: string[];
  /** In the order of ``assumptions``; a job of an older release has none. */
  assumption_sentences?: Sentence[];
  interval?: [number, number];
  /** What comes of it where cached blocks fill the card, as far as that is known. */
  when_full?: Sentence | null;
  /** What the queue keeps on each GPU: the estimate and the spec's margin. */
  reserve_bytes?: number;
  gpus?: ServerGpu[];
};

/** The schema leaves the three open objects of a job untyped. */
export type Job = Omit<Schemas["Job"], "spec" | "estimate" | "latest"> & {
  spec: Spec;
  estimate: Estimate | null;
  /** Only an evaluation may have been told so far. */
  latest: {
    loss?: number | null;
    tokens_per_second?: number;
    memory?: MemoryFigure[];
    evaluation_loss?: number | null;
  } | null;
};

export type Preview = Omit<Schemas["Preview"], "lengths"> & {
  lengths: { measured_rows: number; median: number; p95: number; longest: number } | null;
};

export type JobEvent =
  | StepEvent
  | LogEvent
  | ChatReadyEvent
  | ChatTakenEvent
  | ChatAnswerEvent
  | {
      kind: "state" | "stage" | "plan" | "evaluation" | "checkpoint" | "artifact";
      attempt: number;
      sequence: number;
    };

type ExplainedSide = {
  name: string;
  total_bytes: number;
  ledger: Record<string, number>;
  /** The most that the job was measured to hold of a GPU; null where nothing ran, or none was there. */
  measured_bytes: number | null;
};

export type Explanation = {
  a: ExplainedSide;
  b: ExplainedSide;
  sections: { section: string; bytes: number; because: string }[];
  note: string;
  /** Where the answer turns round with the length, in words; empty where it does not. */
  turning: string;
  by_length: { tokens: number; a_bytes: number; b_bytes: number }[];
  /** Where both sides ran on a GPU. */
  measured: { a_bytes: number; b_bytes: number; difference_bytes: number; unexplained_bytes: number } | null;
};

export type Suggestion = {
  id: string;
  title: string;
  price: string;
  bytes_saved: number;
  total_bytes: number;
  fits: boolean;
  patch: Record<string, unknown>;
};

export type Advice = {
  fits: boolean;
  suggestions: Suggestion[];
  /** Where no single change is enough: the cheapest few that are, or all that help. */
  together: Omit<Suggestion, "id" | "price"> | null;
  longest_max_length: number | null;
  largest_batch: number | null;
  cheapest_gpu: string | null;
  /** Cheaper GPUs with enough memory, and why they cannot run it. */
  passed_over: { gpu: string; because: string }[];
};
