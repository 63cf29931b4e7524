import { Badge, Group, Select, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { ApiProblem, answer, api, call } from "../../api/client";
import type { Explanation, Job } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { useSaid } from "../../i18n/sentence";
import { useRecipes } from "../../spec/recipes";
import { read, type Tree } from "../../spec/spec";
import { jobOptions } from "../../ui/jobOption";
import { formatBytes } from "../../units";
import { SideSettings } from "./SideSettings";
import type { Published, Side } from "./sides";

const JOBS_OFFERED = 50;

type Props = {
  letter: "A" | "B";
  side: Side;
  found?: Explanation["a"];
  scaleBytes?: number;
  published: Published[];
  error: unknown;
  change: (side: Side) => void;
};

/** One side: which recipe or job, its total and ledger, what was published for it, and its settings to change. */
export function SideCard({ letter, side, found, scaleBytes, published, error, change }: Props) {
  const { t } = useTranslation("explain");
  const said = useSaid();
  const recipes = useRecipes().data?.items ?? [];
  const { jobs, gone } = useJobsToCompare(
    side.of,
    recipes.length > 0 && !recipes.some((item) => item.name === side.of),
  );
  const recipe = recipes.find((item) => item.name === side.of);
  const job = jobs.find(({ id }) => id === side.of);
  const spec = (recipe?.spec ?? job?.spec) as Tree | undefined;
  const tokens = Number(side.changes["data.max_length"] ?? (spec && read(spec, "data.max_length")));
  const mark = published.find((row) => row.tokens === tokens);
  return (
    <section className="card" aria-label={t("side", { letter })}>
      <Stack gap="md">
        <Select
          label={t("side", { letter })}
          searchable
          allowDeselect={false}
          data={[
            { group: t("recipes"), items: recipes.map((item) => ({ value: item.name, label: item.title })) },
            { group: t("jobsHere"), items: jobOptions(jobs) },
          ].filter((group) => group.items.length > 0)}
          value={side.of}
          error={gone && t("sideGone", { name: side.of })}
          onChange={(of) => of && change({ of, changes: {} })}
        />
        {found ? (
          <>
            <Group justify="space-between" align="baseline" gap="xs">
              <Text fz={34} fw={680} lh={1.1} style={{ letterSpacing: "-0.03em" }}>
                {formatBytes(found.total_bytes)}
              </Text>
              <Badge>{t("perGpu")}</Badge>
            </Group>
            <MemoryLedger
              ledger={found.ledger}
              totalBytes={found.total_bytes}
              scaleBytes={Math.max(scaleBytes ?? 0, mark?.bytes_per_gpu ?? 0, found.measured_bytes ?? 0)}
              mark={
                mark
                  ? { label: t("publishedMark"), bytes: mark.bytes_per_gpu }
                  : found.measured_bytes != null
                    ? { label: t("measuredMark"), bytes: found.measured_bytes }
                    : undefined
              }
            />
            {mark && <Mark row={mark} found={found} />}
            {found.measured_bytes != null && (
              <Text size="sm">
                <b>{t("measuredHere", { bytes: formatBytes(found.measured_bytes) })}</b>{" "}
                {t("predictionOff", { percent: offBy(found.total_bytes, found.measured_bytes) })}
              </Text>
            )}
          </>
        ) : (
          !error && <Skeleton height={120} />
        )}
        {job && Object.keys(side.changes).length === 0 && <OfItsPage job={job} />}
        {recipe && (
          <Text component="div" size="xs" className="muted">
            {t("recipeSource", { source: recipe.source, date: recipe.date })}
            {recipe.notes.map((note, index) => (
              <div key={note}>{said(note, recipe.note_sentences[index])}</div>
            ))}
          </Text>
        )}
        {spec && <SideSettings letter={letter} side={side} spec={spec} error={error} change={change} />}
      </Stack>
    </section>
  );
}

/** The figure of a job's own page where it is not a formula's, so that two figures for one job do not contradict each other. */
function OfItsPage({ job: { estimate } }: { job: Job }) {
  const { t } = useTranslation("explain");
  if (!estimate || estimate.tier === "formula") return null;
  return (
    <Text size="sm" className="muted">
      {t(estimate.tier === "probe" ? "probedAs" : "tracedAs", { bytes: formatBytes(estimate.total_bytes) })}
    </Text>
  );
}

/** A published measurement beside the prediction: what they printed, and how far the prediction is from it. */
function Mark({ row, found }: { row: Published; found: Explanation["a"] }) {
  const { t } = useTranslation("explain");
  const predicted = found.total_bytes - (row.counts_context ? 0 : (found.ledger.runtime_context ?? 0));
  return (
    <Text size="sm">
      <b>{t("publishedAt", { printed: printedText(row), tokens: row.tokens })}</b>{" "}
      {row.gpus > 1 && t("overGpus", { gpus: row.gpus, each: formatBytes(row.bytes_per_gpu) })}{" "}
      {t(row.counts_context ? "predictionOff" : "predictionOffWithout", {
        percent: offBy(predicted, row.bytes_per_gpu),
      })}
      <Text span size="xs" className="muted" display="block">
        {[row.source, row.gpu, row.notes].filter(Boolean).join(" · ")}
      </Text>
    </Text>
  );
}

/** How far a prediction is from what was measured, in percent with its sign. */
function offBy(predicted: number, measured: number): string {
  const off = (100 * (predicted - measured)) / measured;
  return `${off >= 0 ? "+" : "−"}${Math.abs(off).toFixed(1)}`;
}

/** As they print it; decimal gigabytes of one GPU also in the binary ones that stand beside them. */
function printedText(row: Published): string {
  const decimal = row.printed.endsWith(" GB") && row.gpus === 1;
  return decimal ? `${row.printed} (${formatBytes(row.bytes_per_gpu)})` : row.printed;
}

/** The newest jobs, and the chosen one however old it is; ``gone`` if there is no such job, as when it was deleted. */
function useJobsToCompare(chosen: string, isJob: boolean): { jobs: Job[]; gone: boolean } {
  const jobs = useQuery({
    queryKey: ["jobs-to-compare"],
    queryFn: () =>
      answer(api.GET("/api/jobs", { params: { query: { limit: JOBS_OFFERED } } })) as unknown as Promise<{
        items: Job[];
      }>,
  });
  const newest = jobs.data?.items ?? [];
  const missing = isJob && jobs.isSuccess && !newest.some((job) => job.id === chosen);
  const older = useQuery({
    queryKey: ["job-to-compare", chosen],
    queryFn: () => call<Job>("GET", `/jobs/${encodeURIComponent(chosen)}`),
    enabled: missing,
    retry: false,
  });
  const gone = missing && older.error instanceof ApiProblem && older.error.status === 404;
  return { jobs: missing && older.data ? [...newest, older.data] : newest, gone };
}
