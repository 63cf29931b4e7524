import { Badge, Button, Group, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { IconCamera, IconRuler } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import { type Job, type MeasuredLedger, TERMINAL } from "../../api/types";
import { Comparison } from "../../charts/Comparison";
import { LedgerColumns } from "../../charts/LedgerColumns";
import { StepAnatomy } from "../../charts/StepAnatomy";
import { useSaid } from "../../i18n/sentence";
import { Problem } from "../../ui/Problem";
import { formatBytes, formatPercent } from "../../units";

const REFRESH_MILLISECONDS = 2000;
const MOST_COLUMNS = 12;
/** Categories of the prediction that no tensor accounts for; other processes are none of them. */
const BESIDE = ["fragmentation", "runtime_context"];

const keyOf = (ledger: MeasuredLedger) =>
  `${ledger.probe ? "probe" : "step"}-${ledger.attempt}-${ledger.step}`;

/** Where every byte of the measured steps went, beside the prediction, and the anatomy of the chosen one. */
export function Measured({ job }: { job: Job }) {
  const { t } = useTranslation("measured");
  const [wanted, choose] = useState<string>();
  const ledgers = useQuery({
    queryKey: ["ledgers", job.id],
    queryFn: () => answer(api.GET("/api/jobs/{job_id}/ledgers", { params: { path: { job_id: job.id } } })),
    refetchInterval: TERMINAL.has(job.state) ? false : REFRESH_MILLISECONDS,
  });
  const steps = (ledgers.data?.items ?? []).slice(-MOST_COLUMNS);
  const several = steps.some((ledger) => ledger.attempt !== steps[0]?.attempt);
  const shown = ledgers.data?.probe ? [ledgers.data.probe, ...steps] : steps;
  const chosen = shown.find((ledger) => keyOf(ledger) === wanted) ?? shown.at(-1);
  return (
    <section className="card" aria-label={t("title")}>
      <Group justify="space-between" mb="sm">
        <Title order={2}>{t("title")}</Title>
        {job.state === "running" && <Requests job={job} />}
      </Group>
      {ledgers.error && <Problem error={ledgers.error} retry={ledgers.refetch} />}
      {ledgers.isPending && <Skeleton height={160} />}
      {ledgers.data && !chosen && (
        <Text className="muted">{t(TERMINAL.has(job.state) ? "noneMeasured" : "none")}</Text>
      )}
      {chosen && (
        <Stack gap="lg">
          <LedgerColumns
            columns={shown.map((ledger) => ({
              key: keyOf(ledger),
              label: ledger.probe
                ? t("probe")
                : several
                  ? t("stepOfAttempt", { step: ledger.step, attempt: ledger.attempt })
                  : t("step", { step: ledger.step }),
              ledger: accountOf(ledger),
              chosen: ledger === chosen,
            }))}
            line={predictedLine(chosen, t("predictedComparable"))}
            choose={choose}
          />
          <Account ledger={chosen} />
          {!chosen.probe && <Anatomy job={job.id} attempt={chosen.attempt} step={chosen.step} />}
        </Stack>
      )}
    </section>
  );
}

/** Tensors by category, and what lies beside them where it is known: the prediction counts both. */
function accountOf(ledger: MeasuredLedger): Record<string, number> {
  const beside = ledger.outside.filter(({ source, bytes }) => bytes != null && BESIDE.includes(source));
  return {
    ...ledger.categories,
    ...Object.fromEntries(beside.map(({ source, bytes }) => [source, bytes ?? 0])),
  };
}

/** On the CPU only some categories can be compared: a line for all would promise what was not predicted. What was not measured, such as
 * the context in a container, is in no column, and not in the line. */
function predictedLine(ledger: MeasuredLedger, label: string) {
  const everything = ledger.comparison.every(
    (row) => !row.incomparable_because || row.category === "gradients" || row.measured_bytes === null,
  );
  return everything ? { label, bytes: ledger.comparable_predicted_bytes } : undefined;
}

function Account({ ledger }: { ledger: MeasuredLedger }) {
  const { t } = useTranslation(["measured", "anatomy", "charts"]);
  const said = useSaid();
  return (
    <Stack gap="xs">
      <Group gap="xs">
        <Title order={3}>{t(ledger.probe ? "stepOfProbe" : "step", { step: ledger.step })}</Title>
        <Badge variant="light" tt="none" color="gray">
          {t(`source_${ledger.source.startsWith("cuda") ? "cuda" : "cpu"}`)}
        </Badge>
        {ledger.error_percent !== null && (
          <Badge variant="light" tt="none" color={Math.abs(ledger.error_percent) <= 3 ? "teal" : "yellow"}>
            {t("comparableError", { percent: formatPercent(ledger.error_percent) })}
          </Badge>
        )}
      </Group>
      <Text size="sm">
        {t("highest", { bytes: formatBytes(ledger.total_bytes), phase: t(`anatomy:${ledger.peak_phase}`) })}
        {ledger.allocator_peak_bytes !== null &&
          ` ${t("allocator", { bytes: formatBytes(ledger.allocator_peak_bytes) })}`}
      </Text>
      <Comparison rows={ledger.comparison} />
      {ledger.outside.length > 0 && (
        <SimpleGrid type="container" cols={{ base: 1, "480px": 2, "760px": 4 }} spacing="sm">
          {ledger.unfollowed_bytes !== null && (
            <div>
              <Text size="sm" className="muted">
                {t("unfollowed")}
              </Text>
              <Text fw={600}>{formatBytes(ledger.unfollowed_bytes)}</Text>
              <Text size="xs" className="muted">
                {t("unfollowedAbout")}
              </Text>
            </div>
          )}
          {ledger.outside.map((figure) => (
            <div key={figure.source}>
              <Text size="sm" className="muted">
                {t(`outside_${figure.source}`, { defaultValue: figure.source })}
              </Text>
              <Text fw={600}>{figure.bytes == null ? t("unknown") : formatBytes(figure.bytes)}</Text>
              {figure.unknown_because && (
                <Text size="xs" className="muted">
                  {said(figure.unknown_because, figure.unknown_sentence)}
                </Text>
              )}
            </div>
          ))}
        </SimpleGrid>
      )}
    </Stack>
  );
}

function Anatomy({ job, attempt, step }: { job: string; attempt: number; step: number }) {
  const { t } = useTranslation("measured");
  const anatomy = useQuery({
    queryKey: ["anatomy", job, attempt, step],
    queryFn: () => {
      const params = { path: { job_id: job }, query: { attempt, step } };
      return answer(api.GET("/api/jobs/{job_id}/anatomy", { params }));
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (anatomy.isPending) return <Skeleton height={260} />;
  if (anatomy.error) return <Problem error={anatomy.error} retry={anatomy.refetch} />;
  return <StepAnatomy title={t("anatomy", { step })} points={anatomy.data.points} />;
}

/** What a running trainer can be asked for: one more measured step, or the allocator's own history of one. */
function Requests({ job }: { job: Job }) {
  const { t } = useTranslation("measured");
  const ask = useMutation({
    mutationFn: (action: "measure" | "snapshot") => {
      const params = { params: { path: { job_id: job.id } } };
      return action === "measure"
        ? answer(api.POST("/api/jobs/{job_id}/measure", params))
        : answer(api.POST("/api/jobs/{job_id}/snapshot", params));
    },
    onSuccess: (_, action) => notifications.show({ message: t(`asked_${action}`) }),
  });
  return (
    <Group gap="xs">
      <Button
        size="xs"
        variant="default"
        leftSection={<IconRuler size={14} aria-hidden />}
        loading={ask.isPending}
        onClick={() => ask.mutate("measure")}
      >
        {t("measureNext")}
      </Button>
      {job.gpus.length > 0 && (
        <Button
          size="xs"
          variant="default"
          leftSection={<IconCamera size={14} aria-hidden />}
          onClick={() => ask.mutate("snapshot")}
        >
          {t("snapshot")}
        </Button>
      )}
      {ask.error && <Problem error={ask.error} />}
    </Group>
  );
}
