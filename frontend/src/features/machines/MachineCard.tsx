import { Alert, Progress, SimpleGrid, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Machine } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { StateBadge } from "../../ui/StateBadge";
import { formatBytes } from "../../units";
import { GpuCard } from "./GpuCard";

export function MachineCard({ machine }: { machine: Machine }) {
  const { t } = useTranslation("machines");
  const used = machine.host_total_bytes - machine.host_available_bytes;
  return (
    <section className="card" aria-label={machine.name}>
      <Title order={2}>{machine.name}</Title>
      <Text className="muted" size="sm" mb="xs">
        {t("host", {
          cpus: machine.cpu_count,
          used: formatBytes(used),
          total: formatBytes(machine.host_total_bytes),
        })}
      </Text>
      <Progress value={(100 * used) / machine.host_total_bytes} aria-label={t("hostMemory")} mb="md" />
      <Jobs jobs={machine.jobs} />
      {machine.gpus.length === 0 && <NoGpus machine={machine} />}
      <SimpleGrid cols={{ base: 1, md: 2 }} mt="sm">
        {machine.gpus.map((gpu) => (
          <GpuCard key={gpu.uuid} gpu={gpu} jobs={machine.jobs} />
        ))}
      </SimpleGrid>
      <Versions versions={machine.versions} />
    </section>
  );
}

function Jobs({ jobs }: { jobs: Machine["jobs"] }) {
  const { t } = useTranslation("machines");
  if (jobs.length === 0) return <Text size="sm">{t("idle")}</Text>;
  return (
    <ul style={{ listStyle: "none", margin: 0, padding: 0 }}>
      {jobs.map((job) => (
        <li
          key={job.id}
          style={{
            display: "flex",
            flexWrap: "wrap",
            gap: "2px 10px",
            alignItems: "center",
            marginBottom: 4,
          }}
        >
          <StateBadge state={job.state} />
          <Link to="/jobs/$id" params={{ id: job.id }} style={{ overflowWrap: "anywhere" }}>
            {job.name}
          </Link>
          <Text size="sm" className="muted">
            {job.task !== "train" && `${t(job.task)} · `}
            {job.owner}
            {job.total_steps ? ` · ${t("step", { step: job.step, total: job.total_steps })}` : ""}
            {job.gpus.length > 0 && job.reserved_bytes !== null
              ? ` · ${t("reserved", { bytes: formatBytes(job.reserved_bytes) })}`
              : ""}
            {job.peak_bytes !== null ? ` · ${t("peak", { bytes: formatBytes(job.peak_bytes) })}` : ""}
          </Text>
        </li>
      ))}
    </ul>
  );
}

const NO_DRIVER = "no NVIDIA driver is installed";

function NoGpus({ machine }: { machine: Machine }) {
  const { t } = useTranslation("machines");
  const said = useSaid();
  const { gpus_unknown_because: because, gpus_unknown_sentence: sentence } = machine;
  // Workers of older releases say it without a kind.
  const noDriver = sentence ? sentence.kind === "no_driver" : because?.startsWith(NO_DRIVER);
  const fault = because !== null && !noDriver;
  return (
    <Alert color={fault ? "red" : "gray"} title={t(fault ? "gpusFault" : "noGpu")} mt="sm">
      {fault ? said(because, sentence) : t("noGpuAbout")}
    </Alert>
  );
}

function Versions({ versions }: { versions: Record<string, string> }) {
  const { t } = useTranslation("machines");
  const told = Object.entries(versions);
  if (told.length === 0) return null;
  return (
    <details style={{ marginTop: 16 }}>
      <summary className="muted" style={{ cursor: "pointer", fontSize: 14 }}>
        {t("versions")}
      </summary>
      <Text size="sm" mt={6}>
        {told.map(([name, version]) => `${name} ${version}`).join(" · ")}
      </Text>
    </details>
  );
}
