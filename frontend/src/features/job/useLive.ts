import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { LiveJob } from "./liveJob";

/** Follows a job while its page is open and ``wanted``. What depends on more than steps and lines is asked for again when there is news. */
export function useLive(jobId: string, wanted: boolean): LiveJob {
  const queries = useQueryClient();
  const live = useMemo(
    () => new LiveJob(jobId, () => void queries.invalidateQueries({ queryKey: ["job", jobId] })),
    [jobId, queries],
  );
  useEffect(() => {
    if (!wanted) return;
    live.start();
    return () => live.stop();
  }, [live, wanted]);
  return live;
}
