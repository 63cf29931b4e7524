import { Badge, Group, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Estimate, ServerGpu } from "../../api/types";
import { LedgerBar } from "../../charts/LedgerBar";
import { useSaid } from "../../i18n/sentence";
import { formatBytes } from "../../units";

type Verdict = "now" | "later" | "no" | "unknown" | "unusable";

const COLOURS: Record<Verdict, string> = {
  now: "teal",
  later: "yellow",
  no: "red",
  unknown: "gray",
  unusable: "gray",
};

/** The estimate's ledger against each of this server's GPUs, and which will take the job, which wants so many of one machine. */
export function ServerGpus({ estimate, wanted }: { estimate: Estimate; wanted: number }) {
  const { t } = useTranslation("launch");
  const { gpus, reserve_bytes: reserve } = estimate;
  if (!gpus) return null;
  if (gpus.length === 0)
    return (
      <Text size="sm" className="muted">
        {wanted > 1 ? t("tooFew", { wanted }) : t("noGpu")}
      </Text>
    );
  const tooFew = mostOnOneMachine(gpus) < wanted;
  return (
    <Stack gap="xs">
      <div>
        <Text size="sm" fw={600}>
          {t("hereOnServer")}
        </Text>
        {reserve !== undefined && (
          <Text size="xs" className="muted">
            {t("needsWithMargin", { bytes: formatBytes(reserve) })}
          </Text>
        )}
        {wanted > 1 && (
          <Text size="xs" c={tooFew ? "var(--mantine-color-error)" : undefined}>
            {t(tooFew ? "tooFew" : "eachOf", { wanted })}
          </Text>
        )}
      </div>
      {gpus.map((gpu) => (
        <GpuBar key={gpu.uuid} gpu={gpu} ledger={estimate.ledger} totalBytes={estimate.total_bytes} />
      ))}
    </Stack>
  );
}

type Props = { gpu: ServerGpu; ledger: Record<string, number>; totalBytes: number };

function GpuBar({ gpu, ledger, totalBytes }: Props) {
  const { t } = useTranslation("launch");
  const said = useSaid();
  const verdict = verdictOf(gpu);
  const size = gpu.total_bytes;
  const end =
    size !== null && size < totalBytes ? [{ label: t("endOf", { name: gpu.name }), bytes: size }] : [];
  return (
    <div>
      <Group justify="space-between" wrap="nowrap" gap="xs" mb={4}>
        <Text size="sm" truncate>
          {gpu.machine} · {gpu.index}: {gpu.name}
        </Text>
        <Badge variant="light" color={COLOURS[verdict]} style={{ flexShrink: 0 }}>
          {t(`gpu_${verdict}`)}
        </Badge>
      </Group>
      {size !== null && (
        <LedgerBar
          ledger={ledger}
          fullBytes={size}
          height={8}
          lines={end}
          spoken={t("shareOf", { name: gpu.name })}
        />
      )}
      <Text size="xs" className="muted" mt={5}>
        {(gpu.unusable_because && said(gpu.unusable_because, gpu.unusable_sentence)) ??
          (size === null
            ? t("sizeUnknown")
            : t("freeOf", { free: formatBytes(gpu.free_bytes), total: formatBytes(size) }))}
      </Text>
    </div>
  );
}

/** How many of one machine's GPUs would ever take the job, or may. */
function mostOnOneMachine(gpus: ServerGpu[]) {
  const fit = gpus.filter((gpu) => verdictOf(gpu) !== "no" && verdictOf(gpu) !== "unusable");
  return Math.max(0, ...fit.map(({ machine }) => fit.filter((gpu) => gpu.machine === machine).length));
}

/** The queue's own rule: the whole card decides whether it will ever take the job, free memory whether it does now. */
function verdictOf(gpu: ServerGpu): Verdict {
  if (gpu.unusable_because) return "unusable";
  if (gpu.fits === null) return "unknown";
  if (!gpu.fits) return "no";
  return gpu.fits_now === false ? "later" : "now";
}
