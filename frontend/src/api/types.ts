/** What crosses the wire, by the names of the OpenAPI schema. */

export type JobState =
  | "queued"
  | "assigned"
  | "starting"
  | "running"
  | "cancelling"
  | "succeeded"
  | "failed"
  | "cancelled";

export const TERMINAL: ReadonlySet<JobState> = new Set(["succeeded", "failed", "cancelled"]);

export type Spec = {
  name: string;
  model: { id: string; source: string; revision: string | null };
  data: { dataset: string; [field: string]: unknown };
  [section: string]: unknown;
};

export type MemoryFigure = {
  source: string;
  bytes: number | null;
  peak_bytes: number | null;
  unknown_because: string | null;
};

export type Estimate = {
  total_bytes: number;
  ledger: Record<string, number>;
  device: { name: string; total_bytes: number };
  fits: boolean;
  assumptions: string[];
  interval?: [number, number];
  gpus?: {
    machine: string;
    uuid: string;
    name: string;
    total_bytes: number | null;
    free_bytes: number | null;
    fits: boolean | null;
  }[];
};

export type Job = {
  id: string;
  name: string;
  state: JobState;
  attempt: number;
  owner: { id: string; username: string };
  spec: Spec;
  estimate: Estimate | null;
  estimate_unknown_because: string | null;
  progress: { step: number; total_steps: number | null; eta_seconds: number | null };
  failure: { reason: string; detail: string; advice: string } | null;
  machine: string | null;
  gpus: string[];
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
  waiting_because: string | null;
  latest: { loss: number | null; tokens_per_second: number; memory: MemoryFigure[] } | null;
  stage: string | null;
};

export type Me = { id: string; username: string; role: "admin" | "member"; must_set_password: boolean };

export type Dataset = {
  id: string;
  name: string;
  format: string;
  file_name: string;
  bytes: number;
  rows: number;
  problems: { line: number; message: string }[];
  problem_count: number;
  owner: string | null;
  builtin: boolean;
};

export type Preview = {
  rows: { line: number; raw: Record<string, unknown>; rendered: string | null; tokens: number | null }[];
  rendered_unknown_because: string | null;
  lengths: { measured_rows: number; median: number; p95: number; longest: number } | null;
};

export type LibraryModel = {
  id: string;
  name: string;
  path: string | null;
  builtin: boolean;
  state: "ready" | "unprepared" | "broken";
  architecture: string | null;
  bytes: number | null;
  note: string;
};

export type Gpu = {
  uuid: string;
  index: number;
  name: string;
  total_bytes: number | null;
  used_bytes: number | null;
  free_bytes: number | null;
  utilization_percent: number | null;
  temperature_celsius: number | null;
  power_watts: number | null;
  processes: { pid: number; name: string | null; used_bytes: number | null; job: string | null }[];
  unknown: Record<string, string>;
};

export type Machine = {
  name: string;
  gpus: Gpu[];
  gpus_unknown_because: string | null;
  host_total_bytes: number;
  host_available_bytes: number;
  cpu_count: number;
  running: string[];
};

export type Metrics = {
  attempt: number;
  steps: number[];
  series: Record<string, { mean: (number | null)[]; min: (number | null)[]; max: (number | null)[] }>;
  unknown: Record<string, string>;
};

export type StepEvent = {
  kind: "step";
  attempt: number;
  sequence: number;
  step: number;
  total_steps: number;
  loss: number | null;
  learning_rate: number | null;
  grad_norm: number | null;
  tokens_per_second: number;
  step_seconds: number;
  memory: MemoryFigure[];
};

export type LogEvent = {
  kind: "log";
  attempt: number;
  sequence: number;
  at: number;
  stream: string;
  line: string;
};
export type JobEvent =
  | StepEvent
  | LogEvent
  | {
      kind: "state" | "stage" | "plan" | "evaluation" | "checkpoint" | "artifact";
      attempt: number;
      sequence: number;
    };

export type Explanation = {
  a: { name: string; total_bytes: number };
  b: { name: string; total_bytes: number };
  sections: { section: string; bytes: number; because: string }[];
};
