import { Alert, Code, Progress, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Gpu, Machine } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { formatBytes } from "../../units";

export default function MachinesPage() {
  const { t } = useTranslation("machines");
  const machines = useQuery({
    queryKey: ["machines"],
    queryFn: () => call<{ machines: Machine[] }>("GET", "/gpus"),
    refetchInterval: 2000,
  });
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        {machines.error && <Problem error={machines.error} />}
        {machines.isPending && <Skeleton height={160} />}
        {machines.data?.machines.length === 0 && (
          <Alert color="yellow" title={t("none")}>
            {t("noneFix")} <Code>tunescope worker</Code>
          </Alert>
        )}
        {machines.data?.machines.map((machine) => (
          <MachineCard key={machine.name} machine={machine} />
        ))}
      </Stack>
    </>
  );
}

function MachineCard({ machine }: { machine: Machine }) {
  const { t } = useTranslation("machines");
  const used = machine.host_total_bytes - machine.host_available_bytes;
  return (
    <section className="card">
      <Title order={2}>{machine.name}</Title>
      <Text className="muted" size="sm" mb="sm">
        {t("host", {
          cpus: machine.cpu_count,
          used: formatBytes(used),
          total: formatBytes(machine.host_total_bytes),
        })}
      </Text>
      <Progress value={(100 * used) / machine.host_total_bytes} aria-label={t("hostMemory")} mb="md" />
      {machine.running.map((job) => (
        <Text key={job} size="sm">
          {t("runs")}{" "}
          <Link to="/jobs/$id" params={{ id: job }}>
            {job}
          </Link>
        </Text>
      ))}
      {machine.gpus.length === 0 && <Text>{machine.gpus_unknown_because ?? t("noGpu")}</Text>}
      <SimpleGrid cols={{ base: 1, md: 2 }} mt="sm">
        {machine.gpus.map((gpu) => (
          <GpuCard key={gpu.uuid} gpu={gpu} />
        ))}
      </SimpleGrid>
    </section>
  );
}

function GpuCard({ gpu }: { gpu: Gpu }) {
  const { t } = useTranslation("machines");
  const known = gpu.used_bytes !== null && gpu.total_bytes !== null;
  return (
    <div className="card">
      <Text fw={600}>
        {gpu.index}: {gpu.name}
      </Text>
      <Text size="sm">
        {formatBytes(gpu.used_bytes)} / {formatBytes(gpu.total_bytes)}
        {gpu.utilization_percent !== null && ` · ${gpu.utilization_percent} %`}
        {gpu.temperature_celsius !== null && ` · ${gpu.temperature_celsius} °C`}
        {gpu.power_watts !== null && ` · ${Math.round(gpu.power_watts)} W`}
      </Text>
      {known && (
        <Progress
          value={(100 * (gpu.used_bytes ?? 0)) / (gpu.total_bytes || 1)}
          aria-label={t("gpuMemory")}
          mt={6}
          mb={6}
        />
      )}
      {gpu.processes.map((process) => (
        <Text key={process.pid} size="sm">
          {process.job ? (
            <Link to="/jobs/$id" params={{ id: process.job }}>
              {process.job}
            </Link>
          ) : (
            t("otherProcess", { pid: process.pid, name: process.name ?? "?" })
          )}{" "}
          {formatBytes(process.used_bytes)}
        </Text>
      ))}
      {Object.entries(gpu.unknown).map(([figure, reason]) => (
        <Text key={figure} size="sm" className="muted">
          {t("unknown", { figure, reason })}
        </Text>
      ))}
    </div>
  );
}
