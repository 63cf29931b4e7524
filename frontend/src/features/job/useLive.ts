import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { whileVisible } from "../../ui/whileVisible";
import { LiveJob } from "./liveJob";

/** Follows a job while its page is in sight and ``wanted``: the stream of a tab that nobody looks at would keep others from the server. What depends on more than steps and lines is asked for again when there is news. With a new ``attempt`` a job that had ended is followed again. */
export function useLive(jobId: string, wanted: boolean, attempt: number): LiveJob {
  const queries = useQueryClient();
  const live = useMemo(
    () => new LiveJob(jobId, () => void queries.invalidateQueries({ queryKey: ["job", jobId] })),
    [jobId, queries],
  );
  useEffect(() => {
    if (!wanted) return;
    return whileVisible(() => {
      live.start();
      return () => live.stop();
    });
  }, [live, wanted]);
  useEffect(() => live.attemptIs(attempt), [live, attempt]);
  return live;
}
