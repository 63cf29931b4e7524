import { useQuery } from "@tanstack/react-query";
import { answer, api } from "../../api/client";
import type { Job } from "../../api/types";

/** The files that the job's newest attempt left. */
export function useFiles(job: Job) {
  return useQuery({
    queryKey: ["artifacts", job.id, job.state, job.attempt],
    queryFn: () => answer(api.GET("/api/jobs/{job_id}/artifacts", { params: { path: { job_id: job.id } } })),
  });
}
