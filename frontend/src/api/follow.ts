/** One event stream per job page: resumes where it left off, and ends with the job. */

import type { JobEvent } from "./types";

const KINDS = [
  "state",
  "stage",
  "plan",
  "step",
  "ledger",
  "anatomy",
  "warning",
  "evaluation",
  "checkpoint",
  "artifact",
  "log",
  "chat_ready",
  "chat_taken",
  "chat_answer",
];
const RECONNECT_MILLISECONDS = 1000;

/** Every event after ``position`` (an event's id; null is from the first on). Returns how to stop. */
export function followJob(
  jobId: string,
  position: string | null,
  onEvent: (event: JobEvent) => void,
  onEnd: () => void,
): () => void {
  let last = position ?? "";
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  const open = () => {
    const resume = last ? `?last_event_id=${encodeURIComponent(last)}` : "";
    source = new EventSource(`/api/jobs/${encodeURIComponent(jobId)}/events${resume}`);
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => {
        last = (message as MessageEvent).lastEventId || last;
        onEvent(JSON.parse((message as MessageEvent).data));
      });
    }
    source.addEventListener("end", () => {
      stop();
      onEnd();
    });
    source.onerror = () => {
      // The browser would reconnect by itself only for some errors; doing it here treats all alike.
      source?.close();
      if (!stopped) timer = setTimeout(open, RECONNECT_MILLISECONDS);
    };
  };
  const stop = () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
  open();
  return stop;
}
