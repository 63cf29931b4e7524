import { Button, Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { IconScale } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { gpuOfSource } from "../../api/gpuSource";
import { type Job, TERMINAL } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { useSaid } from "../../i18n/sentence";
import { useSourceName } from "../../i18n/source";
import { Assumptions } from "../../ui/Assumptions";
import { ProblemFields } from "../../ui/Problem";
import { TierBadge } from "../../ui/TraceView";
import { formatBytes } from "../../units";
import { EachGpu } from "./EachGpu";
import { Measured } from "./Measured";
import { TracePanel } from "./TracePanel";

/** Why: field by field, or as an older release stored it. */
function NoEstimate({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const said = useSaid();
  const problem = job.estimate_unknown_problem;
  if (!problem) return <Text>{t("noEstimate", { reason: job.estimate_unknown_because })}</Text>;
  const { errors = [] } = problem;
  return (
    <>
      <Text>{said(problem.detail, problem.detail_sentence)}</Text>
      <ProblemFields errors={errors.map(({ fix = "", ...error }) => ({ ...error, fix }))} />
    </>
  );
}

/** The prediction as a ledger, and beside it what was measured, each figure with its source. */
export function Memory({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const nameOf = useSourceName();
  const said = useSaid();
  const all = job.latest?.memory ?? [];
  const figures = all.filter(({ source }) => gpuOfSource(source).gpu === 1);
  const ended = TERMINAL.has(job.state);
  const probed = job.estimate?.tier === "probe";
  return (
    <Stack>
      <section className="card">
        {job.estimate ? (
          <Stack gap="sm">
            <Group justify="space-between">
              <TierBadge tier={job.estimate.tier} />
              <Button
                variant="default"
                size="xs"
                component={Link}
                to="/why"
                search={{ a: job.id } as never}
                leftSection={<IconScale size={14} aria-hidden />}
              >
                {t("compareMemory")}
              </Button>
            </Group>
            <MemoryLedger
              ledger={job.estimate.ledger}
              totalBytes={job.estimate.total_bytes}
              capacityBytes={job.estimate.device.total_bytes}
              label={t(probed ? "probed" : "predicted", { device: job.estimate.device.name })}
            />
            {probed && (
              <Assumptions
                assumptions={job.estimate.assumptions}
                sentences={job.estimate.assumption_sentences}
              />
            )}
          </Stack>
        ) : (
          <NoEstimate job={job} />
        )}
      </section>
      {figures.length > 0 && (
        <section className="card">
          <Title order={2} mb="sm">
            {figures.length < all.length ? t("ofFirstGpu", { title: t("measured") }) : t("measured")}
          </Title>
          <SimpleGrid cols={{ base: 1, xs: 2, md: 4 }}>
            {figures.map((figure) => (
              <div key={figure.source}>
                <Text className="muted" size="sm">
                  {nameOf(figure.source)}
                </Text>
                <div className="figure">
                  {formatBytes(job.peaks[figure.source] ?? figure.peak_bytes ?? figure.bytes)}
                </div>
                <Text size="xs" className="muted">
                  {figure.unknown_because
                    ? said(figure.unknown_because, figure.unknown_sentence)
                    : [
                        ...(figure.source in job.peaks ? [t(ended ? "highestOfRun" : "highestSoFar")] : []),
                        t("peakOfStep", { bytes: formatBytes(figure.peak_bytes ?? figure.bytes) }),
                      ].join(" · ")}
                </Text>
              </div>
            ))}
          </SimpleGrid>
          <EachGpu job={job} />
        </section>
      )}
      {job.gpus.length === 0 && <Text className="muted">{t("cpuNote")}</Text>}
      <Measured job={job} />
      <TracePanel job={job} />
    </Stack>
  );
}
