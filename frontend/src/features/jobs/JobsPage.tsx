import {
  Alert,
  Button,
  Group,
  Progress,
  SegmentedControl,
  Skeleton,
  Stack,
  Table,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconPlayerPlay, IconPlus, IconSearch } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { call } from "../../api/client";
import type { Job } from "../../api/types";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { StateBadge } from "../../ui/StateBadge";
import { formatBytes, formatDuration, formatNumber } from "../../units";
import { DEMO_SPEC } from "./demo";

const FILTERS: Record<string, string> = {
  all: "",
  active: "queued,assigned,starting,running,cancelling",
  succeeded: "succeeded",
  failed: "failed,cancelled",
};

export default function JobsPage() {
  const { t } = useTranslation("jobs");
  const navigate = useNavigate();
  const [filter, setFilter] = useState("all");
  const [text, setText] = useState("");
  const [query] = useDebouncedValue(text, 250);
  const jobs = useQuery({
    queryKey: ["jobs", filter, query],
    queryFn: () => {
      const params = new URLSearchParams({ limit: "100" });
      if (FILTERS[filter]) params.set("state", FILTERS[filter]);
      if (query) params.set("q", query);
      return call<{ items: Job[] }>("GET", `/jobs?${params}`);
    },
    refetchInterval: 2000,
    placeholderData: (before) => before,
  });
  const health = useQuery({
    queryKey: ["health"],
    queryFn: () => call<{ worker_connected: boolean }>("GET", "/health"),
    refetchInterval: 5000,
  });
  const demo = useMutation({
    mutationFn: () => call<Job>("POST", "/jobs", DEMO_SPEC),
    onSuccess: (job) => navigate({ to: "/jobs/$id", params: { id: job.id } }),
  });
  const tryDemo = (
    <Button
      variant={jobs.data?.items.length ? "default" : "filled"}
      leftSection={<IconPlayerPlay size={16} aria-hidden />}
      loading={demo.isPending}
      onClick={() => demo.mutate()}
    >
      {t("tryDemo")}
    </Button>
  );
  const unfiltered = filter === "all" && !query;
  return (
    <>
      <PageHead title={t("jobs")} about={t("about")}>
        {jobs.data && jobs.data.items.length > 0 && tryDemo}
        <Button component={Link} to="/new" leftSection={<IconPlus size={16} aria-hidden />}>
          {t("newJob")}
        </Button>
      </PageHead>
      <Stack>
        {health.data && !health.data.worker_connected && (
          <Alert color="yellow" title={t("noWorker")}>
            {t("noWorkerFix")}
          </Alert>
        )}
        {demo.error && <Problem error={demo.error} />}
        {jobs.error && <Problem error={jobs.error} />}
        <Group>
          <TextInput
            aria-label={t("search")}
            placeholder={t("search")}
            leftSection={<IconSearch size={16} aria-hidden />}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <SegmentedControl
            aria-label={t("filter")}
            value={filter}
            onChange={setFilter}
            data={Object.keys(FILTERS).map((value) => ({ value, label: t(`filter_${value}`) }))}
          />
        </Group>
        {jobs.isPending && <Skeleton height={180} />}
        {jobs.data && jobs.data.items.length === 0 && (
          <Stack className="card" align="flex-start" gap="sm" p="xl">
            <Title order={2}>{t(unfiltered ? "empty" : "noneFound")}</Title>
            <Text className="muted" maw={560}>
              {t(unfiltered ? "emptyAbout" : "noneFoundAbout")}
            </Text>
            {unfiltered && tryDemo}
          </Stack>
        )}
        {jobs.data && jobs.data.items.length > 0 && <JobTable jobs={jobs.data.items} />}
      </Stack>
    </>
  );
}

function JobTable({ jobs }: { jobs: Job[] }) {
  const { t } = useTranslation("jobs");
  return (
    <div className="card" style={{ padding: 0 }}>
      <Table.ScrollContainer minWidth={680} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
        <Table verticalSpacing="sm" horizontalSpacing="md">
          <Table.Thead>
            <Table.Tr>
              {["name", "state", "progress", "loss", "memory", "owner", "time"].map((column) => (
                <Table.Th key={column}>{t(column)}</Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {jobs.map((job) => (
              <JobRow key={job.id} job={job} />
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}

function JobRow({ job }: { job: Job }) {
  const { t } = useTranslation("jobs");
  const { step, total_steps: total, eta_seconds: eta } = job.progress;
  const memory = job.latest?.memory.find((figure) => figure.peak_bytes ?? figure.bytes);
  return (
    <Table.Tr className="job-row">
      <Table.Td>
        <Link to="/jobs/$id" params={{ id: job.id }}>
          {job.name}
        </Link>
        <Text size="xs" className="muted">
          {job.spec.model.id}
        </Text>
      </Table.Td>
      <Table.Td>
        <StateBadge state={job.state} />
        {job.waiting_because && (
          <Text size="xs" className="muted" mt={4}>
            {job.waiting_because}
          </Text>
        )}
      </Table.Td>
      <Table.Td miw={140}>
        <Text size="sm">
          {step} / {total ?? "?"} {eta !== null && `· ${formatDuration(eta)}`}
        </Text>
        <Progress value={total ? (100 * step) / total : 0} size="sm" mt={4} aria-label={t("progress")} />
      </Table.Td>
      <Table.Td>{formatNumber(job.latest?.loss)}</Table.Td>
      <Table.Td>
        {memory ? formatBytes(memory.peak_bytes ?? memory.bytes) : "–"}
        {memory && (
          <Text size="xs" className="muted">
            {memory.source}
          </Text>
        )}
      </Table.Td>
      <Table.Td>{job.owner.username}</Table.Td>
      <Table.Td>{new Date(job.created_at * 1000).toLocaleString()}</Table.Td>
    </Table.Tr>
  );
}
