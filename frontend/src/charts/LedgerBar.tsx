import { useTranslation } from "react-i18next";
import { formatBytes } from "../units";
import { colourOf } from "./categories";

type Line = { label: string; bytes: number };
type Props = {
  ledger: Record<string, number>;
  /** What the full width stands for; never less than the ledger's sum. */
  fullBytes: number;
  height?: number;
  /** Lines across the bar: a measurement, or the end of a GPU's memory. */
  lines?: Line[];
  /** Said before the parts to those who do not see the bar. */
  spoken?: string;
};

/** A ledger as a bar, one colour a category. */
export function LedgerBar({ ledger, fullBytes, height = 22, lines = [], spoken }: Props) {
  const { t } = useTranslation("charts");
  const parts = Object.entries(ledger).filter(([, bytes]) => bytes > 0);
  const total = parts.reduce((sum, [, bytes]) => sum + bytes, 0);
  const full = Math.max(total, fullBytes, 1);
  const told = parts.map(([name, bytes]) => `${t(name)} ${formatBytes(bytes)}`).join(", ");
  return (
    <div style={{ position: "relative" }}>
      <div
        role="img"
        aria-label={spoken ? `${spoken}: ${told}` : told}
        className="ledger-bar"
        style={{ height }}
      >
        {parts.map(([name, bytes]) => (
          <div
            key={name}
            title={`${t(name)}: ${formatBytes(bytes)}`}
            style={{ width: `${(100 * bytes) / full}%`, background: colourOf(name) }}
          />
        ))}
      </div>
      {lines.map((line) => (
        <div
          key={line.label}
          className="ledger-mark"
          style={{ left: `${(100 * line.bytes) / full}%` }}
          title={`${line.label}: ${formatBytes(line.bytes)}`}
        />
      ))}
    </div>
  );
}
