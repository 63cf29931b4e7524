import { Skeleton, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Job, TraceStatus } from "../../api/types";
import { Problem } from "../../ui/Problem";
import { TraceView } from "../../ui/TraceView";
import { useTrace } from "../../ui/useTrace";

const POLL_MS = 1000;

/** The exact memory of one step of a job, known before it has run. */
export function TracePanel({ job }: { job: Job }) {
  const { t } = useTranslation("trace");
  const own = useQuery({
    queryKey: ["trace-of-job", job.id],
    queryFn: () => call<TraceStatus>("GET", `/jobs/${job.id}/trace`),
    refetchInterval: (query) => (query.state.data?.state === "pending" ? POLL_MS : false),
  });
  const again = useTrace(JSON.stringify(job.spec));
  const status = again.status ?? own.data;
  const error = own.error ?? again.error;
  return (
    <section className="card" aria-label={t("title")}>
      <Title order={2} mb="sm">
        {t("title")}
      </Title>
      {error && <Problem error={error} />}
      {status ? <TraceView status={status} again={again.ask} /> : !error && <Skeleton height={60} />}
    </section>
  );
}
