import { SimpleGrid, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Job, StepEvent } from "../../api/types";
import { TimeSeries } from "../../charts/TimeSeries";
import { formatBytes, formatNumber } from "../../units";
import type { Live } from "./useLive";

const SCALARS = ["loss", "learning_rate", "grad_norm", "tokens_per_second"] as const;

export function Charts({ live, job }: { live: Live; job: Job }) {
  const { t } = useTranslation("job");
  const { steps } = live;
  if (steps.length === 0) return <Text className="muted">{t("noSteps")}</Text>;
  const numbers = steps.map((event) => event.step);
  const sources = [...new Set(steps.flatMap((event) => event.memory.map((figure) => figure.source)))];
  const onGpu = job.gpus.length > 0;
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
      <TimeSeries
        title={t("memoryPerStep")}
        steps={numbers}
        lines={sources.map((source) => ({
          label: source,
          values: steps.map((event) => peak(event, source)),
        }))}
        format={(value) => formatBytes(value)}
        syncKey={job.id}
        marker={onGpu && job.estimate ? { label: t("estimate"), value: job.estimate.total_bytes } : undefined}
      />
      {SCALARS.map((name) => (
        <TimeSeries
          key={name}
          title={t(name)}
          steps={numbers}
          lines={[{ label: t(name), values: steps.map((event) => event[name]) }]}
          format={(value) => formatNumber(value, 3)}
          syncKey={job.id}
        />
      ))}
    </SimpleGrid>
  );
}

function peak(event: StepEvent, source: string): number | null {
  const figure = event.memory.find((item) => item.source === source);
  return figure?.peak_bytes ?? figure?.bytes ?? null;
}
