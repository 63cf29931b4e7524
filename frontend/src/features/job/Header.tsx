import { Group, Progress, SimpleGrid, Text, Title } from "@mantine/core";
import type { TFunction } from "i18next";
import { useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { runMemory } from "../../api/runMemory";
import { type Job, TERMINAL } from "../../api/types";
import { useSourceName } from "../../i18n/source";
import { StateBadge } from "../../ui/StateBadge";
import { useNow } from "../../ui/useNow";
import { formatAgo, formatBytes, formatDate, formatDuration, formatLoss, formatNumber } from "../../units";
import { Actions } from "./Actions";
import type { LiveJob } from "./liveJob";

/** What the job is, how far it has come, its newest figures, and what can be done with it. */
export function Header({ job, live }: { job: Job; live: LiveJob }) {
  const { t } = useTranslation("job");
  const running = !TERMINAL.has(job.state);
  const step = Math.max(job.progress.step, useSyncExternalStore(live.onSnapshot, live.snapshot).step ?? 0);
  const total = job.progress.total_steps;
  return (
    <div className="card">
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0, flex: "1 1 300px" }}>
          <Group gap="sm">
            <Title order={1}>{job.name}</Title>
            <span role="status">
              <StateBadge state={job.state} />
            </span>
          </Group>
          <Text className="muted" mt={4} style={{ overflowWrap: "anywhere" }}>
            {[job.spec.model.id, job.spec.data.dataset, job.owner.username].join(" · ")}
            {job.machine && ` · ${job.machine}`}
            {job.gpus.length > 0 &&
              ` · ${t(job.gpus.length === 1 ? "onGpu" : "onGpus", { count: job.gpus.length })}`}
            {job.attempt > 1 && ` · ${attemptText(job, t)}`}
            <span title={formatDate(job.created_at)}>{` · ${formatAgo(job.created_at)}`}</span>
          </Text>
        </div>
        <Actions job={job} />
      </Group>
      <Group justify="space-between" mt="md" gap="xs">
        <Text size="sm">
          {t("steps", { step, total: total ?? "?" })}
          {running && job.stage && ` · ${t(`stage_${job.stage.replaceAll(" ", "_")}`, job.stage)}`}
        </Text>
        {job.progress.eta_seconds !== null && (
          <Text size="sm">{t("eta", { eta: formatDuration(job.progress.eta_seconds) })}</Text>
        )}
      </Group>
      <Progress
        value={total ? (100 * step) / total : 0}
        mt={6}
        aria-label={t("progress")}
        animated={job.state === "running"}
        color={job.state === "failed" ? "red" : job.state === "cancelled" ? "gray.6" : "brand"}
      />
      <Newest job={job} />
    </div>
  );
}

/** Which attempt this is, and where it began: a worker that stopped takes steps along that no checkpoint holds. */
function attemptText(job: Job, t: TFunction<"job">) {
  const { attempt, resume_from_attempt: from } = job;
  return from ? t("attemptFrom", { attempt, from }) : t("attemptAnew", { attempt });
}

function Newest({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const nameOf = useSourceName();
  const newest = job.latest;
  const memory = runMemory(job);
  const ended = TERMINAL.has(job.state);
  const now = useNow(1000, !ended);
  const lasted = job.started_at && Math.max(0, (job.finished_at ?? now) - job.started_at);
  const figures = [
    {
      label: t("loss"),
      value: formatLoss(newest?.loss),
      note:
        newest?.loss === null
          ? t("diverged")
          : newest?.evaluation_loss !== undefined &&
            t("evaluated", { loss: formatLoss(newest.evaluation_loss) }),
    },
    { label: t("tokens_per_second"), value: formatNumber(newest?.tokens_per_second, 3) },
    {
      label: t(ended ? "memoryAtEnd" : "memoryNow"),
      value: formatBytes(memory?.bytes),
      note: memory && nameOf(memory.source),
    },
    {
      label: t("memoryPeak"),
      value: formatBytes(memory?.peakBytes),
      note: memory?.peakBytes != null && t(ended ? "highestOfRun" : "highestSoFar"),
    },
    { label: t("runtime"), value: lasted === null ? "–" : formatDuration(lasted) },
  ];
  return (
    <SimpleGrid cols={{ base: 2, xs: 3, md: 5 }} mt="md" spacing="md">
      {figures.map((figure) => (
        <div key={figure.label}>
          <Text size="xs" className="muted">
            {figure.label}
          </Text>
          <div className="figure">{figure.value}</div>
          {figure.note && (
            <Text size="xs" className="muted">
              {figure.note}
            </Text>
          )}
        </div>
      ))}
    </SimpleGrid>
  );
}
