import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { followJob } from "../../api/follow";
import type { JobEvent, LogEvent, StepEvent } from "../../api/types";

export const KEPT_STEPS = 20_000;
export const KEPT_LINES = 5_000;
const REDRAW_MILLISECONDS = 60;

export type Live = { attempt: number; steps: StepEvent[]; lines: LogEvent[] };

/** A job's events as they arrive, bounded; only the newest attempt's. */
export function useLive(jobId: string): Live {
  const buffer = useRef<Live>({ attempt: 0, steps: [], lines: [] });
  const [, redraw] = useState(0);
  const queries = useQueryClient();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    buffer.current = { attempt: 0, steps: [], lines: [] };
    const refresh = () => void queries.invalidateQueries({ queryKey: ["job", jobId] });
    const onEvent = (event: JobEvent) => {
      const live = buffer.current;
      if (event.attempt > live.attempt) buffer.current = { attempt: event.attempt, steps: [], lines: [] };
      take(buffer.current, event);
      if (event.kind === "state" || event.kind === "stage" || event.kind === "plan") refresh();
      timer ??= setTimeout(() => {
        timer = undefined;
        redraw((count) => count + 1);
      }, REDRAW_MILLISECONDS);
    };
    const stop = followJob(jobId, onEvent, refresh);
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [jobId, queries]);
  return buffer.current;
}

function take(live: Live, event: JobEvent) {
  if (event.kind === "step") {
    live.steps.push(event as StepEvent);
    if (live.steps.length > KEPT_STEPS) live.steps.splice(0, KEPT_STEPS / 10);
  } else if (event.kind === "log") {
    live.lines.push(event as LogEvent);
    if (live.lines.length > KEPT_LINES) live.lines.splice(0, KEPT_LINES / 10);
  }
}
