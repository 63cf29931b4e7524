import { Checkbox, Group, Progress, Stack, Table, Text, VisuallyHidden } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { runMemory } from "../../api/runMemory";
import { type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { toldByNoWorker } from "../../ui/NoWorker";
import { StateBadge } from "../../ui/StateBadge";
import { useNow } from "../../ui/useNow";
import { formatAgo, formatBytes, formatDate, formatDuration, formatLoss } from "../../units";

const COLUMNS = ["name", "state", "progress", "loss", "memory", "owner", "time"];

type Ticking = { ticked: string[]; tick: (id: string, on: boolean) => void };
type One = Ticking & { job: Job };

/** A table where there is room for one, else a list of cards; jobs can be ticked in either. */
export function JobList({ jobs, ...ticking }: Ticking & { jobs: Job[] }) {
  const { t } = useTranslation("jobs");
  useNow(10_000); // ages are told anew
  const narrow = useMediaQuery("(max-width: 62em)", false, { getInitialValueInEffect: false });
  if (narrow)
    return (
      <Stack component="ul" gap="sm" p={0} m={0} aria-label={t("jobs")} style={{ listStyle: "none" }}>
        {jobs.map((job) => (
          <JobCard key={job.id} job={job} {...ticking} />
        ))}
      </Stack>
    );
  return (
    <div className="card flush">
      <Table verticalSpacing={10} horizontalSpacing="md">
        <Table.Thead>
          <Table.Tr>
            <Table.Th w={44} pe={0}>
              <VisuallyHidden>{t("tickedJobs")}</VisuallyHidden>
            </Table.Th>
            {COLUMNS.map((column) => (
              <Table.Th key={column}>{t(column)}</Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {jobs.map((job) => (
            <JobRow key={job.id} job={job} {...ticking} />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

/** Ticks a job, for what can be done with several. */
function Tick({ job, ticked, tick }: One) {
  const { t } = useTranslation("jobs");
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the checkbox is its control
    <label className="tick">
      <Checkbox
        size="xs"
        radius={4}
        checked={ticked.includes(job.id)}
        onChange={(event) => tick(job.id, event.currentTarget.checked)}
      />
      <VisuallyHidden>{t("tick", { name: job.name })}</VisuallyHidden>
    </label>
  );
}

function JobRow({ job, ...ticking }: One) {
  return (
    <Table.Tr className="job-row">
      <Table.Td pe={0}>
        <Tick job={job} {...ticking} />
      </Table.Td>
      <Table.Td maw={300}>
        <Name job={job} />
      </Table.Td>
      <Table.Td maw={220}>
        <StateBadge state={job.state} />
        <Why job={job} />
      </Table.Td>
      <Table.Td miw={150}>
        <Steps job={job} />
      </Table.Td>
      <Table.Td>{formatLoss(job.latest?.loss)}</Table.Td>
      <Table.Td>
        <Memory job={job} />
      </Table.Td>
      <Table.Td>{job.owner.username}</Table.Td>
      <Table.Td style={{ whiteSpace: "nowrap" }} title={formatDate(job.created_at)}>
        {formatAgo(job.created_at)}
      </Table.Td>
    </Table.Tr>
  );
}

function JobCard({ job, ...ticking }: One) {
  const { t } = useTranslation("jobs");
  return (
    <li className="card job-row">
      <Group justify="space-between" wrap="nowrap" align="flex-start" mb={8}>
        <Group gap="sm" wrap="nowrap" align="flex-start" style={{ minWidth: 0 }}>
          <Tick job={job} {...ticking} />
          <div style={{ minWidth: 0 }}>
            <Name job={job} />
          </div>
        </Group>
        <StateBadge state={job.state} />
      </Group>
      <Why job={job} />
      <Steps job={job} />
      <Group justify="space-between" mt={8} align="flex-end">
        <Memory job={job} />
        <Text size="xs" className="muted" ta="end">
          {[
            ...(job.latest ? [t("lossOf", { loss: formatLoss(job.latest.loss) })] : []),
            job.owner.username,
            formatAgo(job.created_at),
          ].join(" · ")}
        </Text>
      </Group>
    </li>
  );
}

function Name({ job }: { job: Job }) {
  return (
    <>
      <Link to="/jobs/$id" params={{ id: job.id }} className="title" style={{ overflowWrap: "anywhere" }}>
        {job.name}
      </Link>
      <Text size="xs" className="muted" truncate>
        {job.spec.model.id}
      </Text>
    </>
  );
}

/** Why it waits or failed, in a line. */
function Why({ job }: { job: Job }) {
  const said = useSaid();
  const why = job.failure
    ? said(job.failure.detail.split("\n")[0] ?? "", job.failure.detail_sentence)
    : job.waiting_because && !toldByNoWorker(job) && said(job.waiting_because, job.waiting_sentence);
  if (!why) return null;
  return (
    <Text size="xs" className="muted" my={4} lineClamp={2} title={why}>
      {why}
    </Text>
  );
}

function Steps({ job }: { job: Job }) {
  const { t } = useTranslation(["jobs", "job"]);
  const { step, total_steps: total, eta_seconds: eta } = job.progress;
  const share = total ? (100 * step) / total : 0;
  const stage = TERMINAL.has(job.state) ? null : job.stage;
  return (
    <>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm">{t("stepOf", { step, total: total ?? "?" })}</Text>
        <Text size="xs" className="muted">
          {eta !== null
            ? t("left", { eta: formatDuration(eta) })
            : stage && t(`job:stage_${stage.replaceAll(" ", "_")}`, stage)}
        </Text>
      </Group>
      <Progress
        value={share}
        size={5}
        mt={4}
        color={job.state === "failed" ? "red" : job.state === "cancelled" ? "gray.6" : "brand"}
        aria-label={t("progressOf", { name: job.name })}
      />
    </>
  );
}

/** Memory now, the peak of the run below, and who measured it. */
function Memory({ job }: { job: Job }) {
  const { t } = useTranslation("jobs");
  const figure = runMemory(job);
  if (!figure) return <Text size="sm">–</Text>;
  return (
    <div title={t("measuredBy", { source: figure.source })}>
      <Text size="sm">{formatBytes(figure.bytes)}</Text>
      {figure.peakBytes !== null && (
        <Text size="xs" className="muted">
          {t("peakOf", { bytes: formatBytes(figure.peakBytes) })}
        </Text>
      )}
    </div>
  );
}
