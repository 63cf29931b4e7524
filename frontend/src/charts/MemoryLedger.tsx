import { Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { formatBytes } from "../units";
import { colourOf } from "./categories";
import { LedgerBar } from "./LedgerBar";

type Props = {
  ledger: Record<string, number>;
  totalBytes: number;
  /** A GPU's memory: the full width of the bar, named beside the total. */
  capacityBytes?: number;
  /** The full width where two ledgers are compared. */
  scaleBytes?: number;
  label?: string;
  /** A measurement to show as a line across the bar. */
  mark?: { label: string; bytes: number };
};

/** A total as a bar of categories; the legend names each with its bytes. */
export function MemoryLedger({ ledger, totalBytes, capacityBytes, scaleBytes, label, mark }: Props) {
  const { t } = useTranslation("charts");
  const full = Math.max(totalBytes, capacityBytes ?? 0, scaleBytes ?? 0, 1);
  const over = capacityBytes && capacityBytes < totalBytes;
  const lines = [...(mark ? [mark] : []), ...(over ? [{ label: label ?? "", bytes: capacityBytes }] : [])];
  const parts = Object.entries(ledger).filter(([, bytes]) => bytes > 0);
  return (
    <div>
      {label && (
        <Group justify="space-between" mb={6} gap="xs">
          <Text fw={600}>{label}</Text>
          <Text>
            <b>{formatBytes(totalBytes)}</b>
            {capacityBytes ? <span className="muted"> / {formatBytes(capacityBytes)}</span> : null}
          </Text>
        </Group>
      )}
      <LedgerBar ledger={ledger} fullBytes={full} lines={lines} />
      <Group gap="4px 16px" mt={8}>
        {parts.map(([name, bytes]) => (
          <Group key={name} gap={6} wrap="nowrap">
            <span
              aria-hidden
              style={{ width: 10, height: 10, borderRadius: 3, background: colourOf(name) }}
            />
            <Text size="sm">
              {t(name)} <span className="muted">{formatBytes(bytes)}</span>
            </Text>
          </Group>
        ))}
      </Group>
    </div>
  );
}
