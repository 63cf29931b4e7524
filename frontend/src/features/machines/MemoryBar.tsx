import { Group, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Gpu, Machine } from "../../api/types";
import { formatBytes } from "../../units";
import { historyOf } from "./history";
import { Sparkline } from "./Sparkline";
import { type Part, split } from "./split";

const COLOURS: Record<Part["kind"], string[]> = {
  job: ["#0ca678", "#12b886", "#66d9a9"],
  process: ["#e8890c", "#f2a33a", "#c76b00"],
  untold: ["#868e96"],
  reserve: ["#5c6f91"],
  free: ["transparent"],
};

/** A GPU's memory as one bar, and below it who holds each part. */
export function MemoryBar({ gpu, jobs }: { gpu: Gpu; jobs: Machine["jobs"] }) {
  const { t } = useTranslation("machines");
  const parts = split(gpu);
  const total = gpu.total_bytes;
  if (!parts || total === null) return null;
  const names = new Map(jobs.map((job) => [job.id, `${job.name} · ${job.owner}`]));
  const text = (part: Part) => {
    if (part.kind === "job") return names.get(part.job ?? "") ?? part.job ?? "";
    if (part.kind !== "process") return t(part.kind);
    const { name, user, pid } = part.process ?? { name: null, user: null, pid: 0 };
    return name ? t("process", { name, user: user ?? "?", pid }) : t("processUnnamed", { pid });
  };
  const size = (part: Part) => (part.bytes === null ? t("notTold") : formatBytes(part.bytes));
  const colour = (part: Part, index: number) => {
    const choice = COLOURS[part.kind];
    return choice[index % choice.length];
  };
  return (
    <>
      <Group justify="space-between" gap="xs" mb={6}>
        <Text size="sm">
          <b>{formatBytes(gpu.used_bytes)}</b>{" "}
          <span className="muted">{t("ofTotal", { total: formatBytes(total) })}</span>
        </Text>
        <Text size="sm" className="muted">
          {t("percentUsed", { percent: Math.round((100 * (gpu.used_bytes ?? 0)) / total) })}
        </Text>
      </Group>
      <div
        role="img"
        aria-label={parts.map((part) => `${text(part)} ${size(part)}`).join(", ")}
        style={{
          display: "flex",
          height: 18,
          borderRadius: 6,
          overflow: "hidden",
          background: "light-dark(#e9ecef, #2e3134)",
        }}
      >
        {parts.map((part, index) => (
          <div
            key={part.key}
            title={`${text(part)}: ${size(part)}`}
            style={{ width: `${(100 * (part.bytes ?? 0)) / total}%`, background: colour(part, index) }}
          />
        ))}
      </div>
      <ul style={{ listStyle: "none", margin: "8px 0 0", padding: 0 }}>
        {parts.map((part, index) => (
          <li
            key={part.key}
            style={{ display: "flex", gap: 8, alignItems: "baseline", fontSize: 14, minWidth: 0 }}
          >
            <span
              aria-hidden
              style={{
                flex: "none",
                width: 10,
                height: 10,
                borderRadius: 3,
                background: colour(part, index),
                border: part.kind === "free" ? "1px solid light-dark(#868e96, #868e96)" : undefined,
              }}
            />
            <span style={{ flex: 1, minWidth: 0, overflowWrap: "anywhere" }}>
              {part.job ? (
                <Link to="/jobs/$id" params={{ id: part.job }}>
                  {text(part)}
                </Link>
              ) : (
                text(part)
              )}
            </span>
            <span className="muted">{size(part)}</span>
          </li>
        ))}
      </ul>
      <Sparkline samples={historyOf(gpu.uuid)} full={total} label={t("lastMinutes")} />
    </>
  );
}
