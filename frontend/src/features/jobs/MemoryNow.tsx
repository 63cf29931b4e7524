import { Group, Progress, SimpleGrid, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { Machine } from "../../api/types";
import { type Said, useSaid } from "../../i18n/sentence";
import { formatBytes } from "../../units";

const REFRESH_MILLISECONDS = 3000;
/** ``because``: why the memory is not known. */
type Bar = {
  key: string;
  name: string;
  used: number | null;
  total: number | null;
  because?: string;
  sentence?: Said;
};

/** How full each GPU is at this moment; host memory where a machine has no GPU. */
export function MemoryNow() {
  const { t } = useTranslation("jobs");
  const said = useSaid();
  const machines = useQuery({
    queryKey: ["machines"],
    queryFn: () => answer(api.GET("/api/gpus")),
    refetchInterval: REFRESH_MILLISECONDS,
  });
  const bars = (machines.data?.machines as Machine[] | undefined)?.flatMap((machine) => barsOf(machine, t));
  if (!bars?.length) return null;
  return (
    <SimpleGrid cols={{ base: 1, sm: 2, lg: Math.min(4, Math.max(2, bars.length)) }} spacing="sm">
      {bars.map((bar) => (
        <Link key={bar.key} to="/machines" className="card" style={{ padding: "12px 16px" }}>
          <Group justify="space-between" gap="xs" wrap="nowrap">
            <Text size="sm" className="muted" truncate>
              {bar.name}
            </Text>
            <Text size="sm" style={{ whiteSpace: "nowrap" }}>
              <b>{formatBytes(bar.used)}</b> <span className="muted">/ {formatBytes(bar.total)}</span>
            </Text>
          </Group>
          {bar.used === null && bar.because ? (
            <Text size="xs" className="muted">
              {said(bar.because, bar.sentence)}
            </Text>
          ) : (
            <Progress
              mt={8}
              size={6}
              value={bar.used !== null && bar.total ? (100 * bar.used) / bar.total : 0}
              aria-label={t("memoryOf", { name: bar.name })}
            />
          )}
        </Link>
      ))}
    </SimpleGrid>
  );
}

function barsOf(machine: Machine, t: (key: string, values: { machine: string }) => string): Bar[] {
  if (machine.gpus.length === 0)
    return [
      {
        key: machine.name,
        name: t("hostOf", { machine: machine.name }),
        used: machine.host_total_bytes - machine.host_available_bytes,
        total: machine.host_total_bytes,
      },
    ];
  return machine.gpus.map((gpu) => ({
    key: gpu.uuid,
    name: `${machine.name} · ${gpu.index}: ${gpu.name}`,
    used: gpu.used_bytes,
    total: gpu.total_bytes,
    because: gpu.unusable_because ?? gpu.unknown.memory,
    sentence: gpu.unusable_sentence ?? gpu.unknown_sentences.memory,
  }));
}
