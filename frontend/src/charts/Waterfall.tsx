import { Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { formatBytes } from "../units";

type Part = { section: string; bytes: number; because: string };

/** From A's total to B's, one bar a section: what it adds (orange) or saves (teal), and why. */
export function Waterfall({ from, parts }: { from: number; parts: Part[] }) {
  const { t } = useTranslation("explain");
  let running = from;
  const bars = parts.map((part) => {
    const start = running;
    running += part.bytes;
    return { ...part, low: Math.min(start, running), high: Math.max(start, running) };
  });
  const full = Math.max(from, running, ...bars.map((bar) => bar.high), 1);
  return (
    <div>
      {bars.map((bar) => (
        <div key={bar.section} style={{ marginBottom: 14 }}>
          <Group justify="space-between" gap="xs">
            <Text fw={600}>{t(bar.section)}</Text>
            <Text fw={600}>
              {bar.bytes > 0 ? "+" : ""}
              {formatBytes(bar.bytes)}
            </Text>
          </Group>
          <div
            aria-hidden
            style={{
              position: "relative",
              height: 12,
              borderRadius: 4,
              background: "light-dark(#e9ecef, #2e3134)",
            }}
          >
            <div
              style={{
                position: "absolute",
                left: `${(100 * bar.low) / full}%`,
                width: `max(2px, ${(100 * (bar.high - bar.low)) / full}%)`,
                height: "100%",
                borderRadius: 4,
                background: bar.bytes > 0 ? "#e8590c" : "#0b7285",
              }}
            />
          </div>
          <Text size="sm" className="muted" mt={2}>
            {bar.because}
          </Text>
        </div>
      ))}
    </div>
  );
}
