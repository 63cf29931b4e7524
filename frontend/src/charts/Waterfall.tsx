import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { listed } from "../i18n/list";
import { formatBytes } from "../units";

type Part = { section: string; bytes: number; because: string };
type Props = { from: number; to: number; parts: Part[] };

/** From A's total to B's, one bar a section: what it adds (orange) or saves (teal), and why. Equal sections come last, in a line. */
export function Waterfall({ from, to, parts }: Props) {
  const { t } = useTranslation("explain");
  const moved = parts.filter((part) => part.bytes !== 0);
  const still = parts.filter((part) => part.bytes === 0);
  let running = from;
  const bars = moved.map((part) => {
    const start = running;
    running += part.bytes;
    return { ...part, low: Math.min(start, running), high: Math.max(start, running) };
  });
  const full = Math.max(from, to, ...bars.map((bar) => bar.high), 1);
  return (
    <div className="waterfall">
      <Row label={t("totalOf", { letter: "A" })} bytes={formatBytes(from)}>
        <Bar low={0} high={from} full={full} kind="total" />
      </Row>
      {bars.map((bar) => (
        <Row
          key={bar.section}
          label={t(bar.section)}
          bytes={`${bar.bytes > 0 ? "+" : "−"}${formatBytes(Math.abs(bar.bytes))}`}
          because={bar.because}
        >
          <Bar low={bar.low} high={bar.high} full={full} kind={bar.bytes > 0 ? "more" : "less"} />
        </Row>
      ))}
      <Row label={t("totalOf", { letter: "B" })} bytes={formatBytes(to)}>
        <Bar low={0} high={to} full={full} kind="total" />
      </Row>
      {still.length > 0 && (
        <details>
          <summary>{t("nothingMoved", { sections: listed(still.map((part) => t(part.section))) })}</summary>
          {still.map((part) => (
            <Text key={part.section} size="sm" mt={4}>
              <b>{t(part.section)}</b>: {part.because}
            </Text>
          ))}
        </details>
      )}
    </div>
  );
}

type RowProps = { label: string; bytes: string; because?: string; children: React.ReactNode };

function Row({ label, bytes, because, children }: RowProps) {
  return (
    <div className="waterfall-row">
      <Text fw={600} className="label">
        {label}
      </Text>
      {children}
      <Text fw={600} className="bytes">
        {bytes}
      </Text>
      {because && (
        <Text size="sm" className="muted because">
          {because}
        </Text>
      )}
    </div>
  );
}

type BarProps = { low: number; high: number; full: number; kind: "total" | "more" | "less" };

function Bar({ low, high, full, kind }: BarProps) {
  return (
    <div className="waterfall-track" aria-hidden>
      <div
        className={`waterfall-bar ${kind}`}
        style={{ left: `${(100 * low) / full}%`, width: `max(2px, ${(100 * (high - low)) / full}%)` }}
      />
    </div>
  );
}
