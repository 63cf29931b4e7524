import { Alert, Badge, Group, Text, Title } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Gpu, Machine } from "../../api/types";
import { listed } from "../../i18n/list";
import { useSaid } from "../../i18n/sentence";
import { formatDate } from "../../units";
import { MemoryBar } from "./MemoryBar";

export function GpuCard({ gpu, jobs }: { gpu: Gpu; jobs: Machine["jobs"] }) {
  const { t } = useTranslation("machines");
  const said = useSaid();
  const assigned = jobs.filter((job) => job.gpus.includes(gpu.uuid));
  return (
    <article className="card" aria-label={`GPU ${gpu.index} ${gpu.name}`}>
      <Group justify="space-between" gap="xs" mb="sm">
        <Title order={3} size="h4">
          GPU {gpu.index} <span className="muted">{gpu.name}</span>
        </Title>
        <Group gap={6}>
          {gpu.parent && <Badge variant="default">{t("part")}</Badge>}
          {gpu.divided && <Badge variant="default">{t("divided")}</Badge>}
          {assigned.length === 0 && !gpu.unusable_because && !gpu.divided && (
            <Badge variant="default">{t("noJob")}</Badge>
          )}
        </Group>
      </Group>
      {gpu.unusable_because && (
        <Alert color="red" title={t("unusable")} mb="sm">
          {said(gpu.unusable_because, gpu.unusable_sentence)}
        </Alert>
      )}
      <MemoryBar gpu={gpu} jobs={jobs} />
      <Figures gpu={gpu} />
      <Health gpu={gpu} />
      <Unknowns gpu={gpu} />
    </article>
  );
}

function Figures({ gpu }: { gpu: Gpu }) {
  const { t } = useTranslation("machines");
  const rounded = (value: number | null, unit: string) =>
    value === null ? null : `${Math.round(value)} ${unit}`;
  const power = rounded(gpu.power_watts, "W");
  const limit = rounded(gpu.power_limit_watts, "W");
  const figures: [string, string | null][] = [
    ["utilization_percent", rounded(gpu.utilization_percent, "%")],
    ["temperature_celsius", rounded(gpu.temperature_celsius, "°C")],
    ["power_watts", power && (limit ? `${power.replace(" W", "")} / ${limit}` : power)],
    ["sm_clock_mhz", rounded(gpu.sm_clock_mhz, "MHz")],
    ["memory_clock_mhz", rounded(gpu.memory_clock_mhz, "MHz")],
  ];
  const known = figures.filter(([, value]) => value !== null);
  if (known.length === 0) return null;
  return (
    <dl
      style={{
        display: "grid",
        gridTemplateColumns: "repeat(auto-fill, minmax(104px, 1fr))",
        gap: "10px 14px",
        margin: "14px 0 0",
      }}
    >
      {known.map(([name, value]) => (
        <div key={name}>
          <dt className="muted" style={{ fontSize: 13 }}>
            {t(name)}
          </dt>
          <dd style={{ margin: 0, fontWeight: 600, whiteSpace: "nowrap" }}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What is wrong with a GPU: slowed clocks, memory errors, faults that the driver reported. */
function Health({ gpu }: { gpu: Gpu }) {
  const { t } = useTranslation("machines");
  const said = useSaid();
  const errors = [gpu.ecc_volatile_uncorrected, gpu.ecc_aggregate_uncorrected] as const;
  const slowed = gpu.throttling ?? [];
  if (slowed.length === 0 && gpu.xids.length === 0 && !errors.some(Boolean)) return null;
  const grave = errors[0] || gpu.xids.length > 0;
  return (
    <Alert
      color={grave ? "red" : "yellow"}
      title={t("attention")}
      mt="md"
      styles={{ label: { color: "var(--mantine-color-text)" } }}
    >
      {slowed.map((name) => (
        <Text key={name} size="sm">
          {t(`throttling_${name}`)}
        </Text>
      ))}
      {errors.some(Boolean) && (
        <Text size="sm">{t("ecc", { since: errors[0] ?? "?", ever: errors[1] ?? "?" })}</Text>
      )}
      {gpu.xids.map((fault) => (
        <Text size="sm" key={`${fault.code}-${fault.at}`}>
          {t("xid", {
            code: fault.code,
            meaning: said(fault.meaning, fault.meaning_sentence),
            at: formatDate(fault.at),
          })}
        </Text>
      ))}
    </Alert>
  );
}

/** Figures that are missing, and why, unless that is said already; those with one reason in one line. */
function Unknowns({ gpu }: { gpu: Gpu }) {
  const { t } = useTranslation("machines");
  const said = useSaid();
  const byReason = new Map<string, string[]>();
  for (const [figure, english] of Object.entries(gpu.unknown)) {
    if (english === gpu.unusable_because) continue;
    const because = said(english, gpu.unknown_sentences[figure]);
    byReason.set(because, [...(byReason.get(because) ?? []), t(figure)]);
  }
  return [...byReason].map(([because, figures]) => (
    <Text key={because} size="sm" className="muted" mt="sm">
      {t("unknown", { figure: listed(figures), reason: because })}
    </Text>
  ));
}
