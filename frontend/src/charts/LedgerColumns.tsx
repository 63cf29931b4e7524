import "./ledger.css";
import { Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { formatBytes } from "../units";
import { colourOf, stackOrder } from "./categories";

const HEIGHT = 190;

export type Column = { key: string; label: string; ledger: Record<string, number>; chosen?: boolean };

type Props = {
  columns: Column[];
  /** A level drawn across all columns, such as the predicted total. */
  line?: { label: string; bytes: number };
  choose: (key: string) => void;
};

const totalOf = (ledger: Record<string, number>) =>
  Object.values(ledger).reduce((sum, bytes) => sum + bytes, 0);

/** Measured ledgers side by side, a stacked column each; pressing one chooses it. */
export function LedgerColumns({ columns, line, choose }: Props) {
  const { t } = useTranslation("charts");
  const categories = stackOrder(columns.map((column) => column.ledger));
  const highest = Math.max(...columns.map((column) => totalOf(column.ledger)), line?.bytes ?? 0, 1) * 1.05;
  const share = (bytes: number) => `${(100 * bytes) / highest}%`;
  return (
    <div>
      <div className="ledger-columns" style={{ height: HEIGHT }}>
        {columns.map((column) => (
          <button
            key={column.key}
            type="button"
            aria-pressed={column.chosen}
            aria-label={`${column.label}: ${formatBytes(totalOf(column.ledger))}`}
            onClick={() => choose(column.key)}
          >
            {[...categories].reverse().map((name) => (
              <span
                key={name}
                title={`${t(name)}: ${formatBytes(column.ledger[name] ?? 0)}`}
                style={{ height: share(column.ledger[name] ?? 0), background: colourOf(name) }}
              />
            ))}
          </button>
        ))}
        {line && (
          <div className="ledger-line" style={{ bottom: share(line.bytes) }}>
            <span>
              {line.label} {formatBytes(line.bytes)}
            </span>
          </div>
        )}
      </div>
      <div className="ledger-labels" aria-hidden>
        {columns.map((column) => (
          <Text key={column.key} size="xs" className="muted" ta="center">
            {column.label}
          </Text>
        ))}
      </div>
      <Group gap="md" mt={8} aria-hidden>
        {categories.map((name) => (
          <Group key={name} gap={6} wrap="nowrap">
            <span style={{ width: 10, height: 10, borderRadius: 3, background: colourOf(name) }} />
            <Text size="sm">{t(name)}</Text>
          </Group>
        ))}
      </Group>
    </div>
  );
}
