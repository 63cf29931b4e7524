import { Table, useComputedColorScheme } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import type { Metrics } from "../../api/types";
import { lineColour } from "../../charts/TimeSeries";
import { labelOf } from "../../ui/jobOption";
import { StateBadge } from "../../ui/StateBadge";
import { formatLoss, formatNumber } from "../../units";
import type { Chosen } from "./runs";

const NO_WRAP = { whiteSpace: "nowrap" } as const;

/** The same as figures: for who does not tell colours apart, and for who wants to know which run ended lowest. */
export function RunTable({ runs, drawn }: { runs: Chosen[]; drawn: Chosen[] }) {
  const { t } = useTranslation(["losses", "job"]);
  const dark = useComputedColorScheme("light") === "dark";
  const jobs = runs.flatMap(({ job }) => (job ? [job] : []));
  return (
    <div className="card flush">
      <Table.ScrollContainer minWidth={680} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
        <Table horizontalSpacing="md" verticalSpacing="xs" aria-label={t("figures")}>
          <Table.Thead>
            <Table.Tr>
              {["run", "newest", "lowest", "evaluation", "state", "steps"].map((column) => (
                <Table.Th key={column}>{t(column)}</Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {runs.map(({ id, job, metrics }) => {
              if (!job || !metrics) return null;
              const place = drawn.findIndex((run) => run.id === id);
              return (
                <Table.Tr key={id}>
                  <Table.Td style={{ overflowWrap: "anywhere" }}>
                    <span
                      className="swatch inline"
                      aria-hidden
                      style={{ background: place < 0 ? "transparent" : lineColour(place, dark) }}
                    />
                    <Link to="/jobs/$id" params={{ id }}>
                      {labelOf(job, jobs)}
                    </Link>
                  </Table.Td>
                  <Table.Td>{formatLoss(job.latest?.loss)}</Table.Td>
                  <Table.Td style={NO_WRAP}>
                    {lowestOf(metrics, (loss, step) => t("lowestAt", { loss, step }))}
                  </Table.Td>
                  <Table.Td>{formatLoss(metrics.evaluations.at(-1)?.loss)}</Table.Td>
                  <Table.Td>
                    <StateBadge state={job.state} />
                  </Table.Td>
                  <Table.Td style={NO_WRAP}>
                    {job.progress.step} / {job.progress.total_steps ?? "?"}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}

/** The lowest loss of all steps, and the step that it is of, or the last of the few steps that its point stands for. */
function lowestOf({ series, steps }: Metrics, told: (loss: string, step: number) => string): string {
  const { mean = [], min = [] } = series.loss ?? {};
  let best = -1;
  const at = (index: number) => min[index] ?? mean[index] ?? Number.POSITIVE_INFINITY;
  for (let index = 0; index < steps.length; index++) if (best < 0 || at(index) < at(best)) best = index;
  return best < 0 || !Number.isFinite(at(best)) ? "–" : told(formatNumber(at(best)), steps[best] ?? 0);
}
