import {
  Alert,
  Anchor,
  Button,
  Code,
  CopyButton,
  Group,
  Progress,
  SimpleGrid,
  Skeleton,
  Stack,
  Table,
  Tabs,
  Text,
  Title,
} from "@mantine/core";
import { modals } from "@mantine/modals";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useParams } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { stringify } from "yaml";
import { call } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { Problem } from "../../ui/Problem";
import { StateBadge } from "../../ui/StateBadge";
import { TierBadge } from "../../ui/TraceView";
import { formatBytes, formatDuration } from "../../units";
import { Charts } from "./Charts";
import { TracePanel } from "./TracePanel";
import { type Live, useLive } from "./useLive";

export default function JobPage() {
  const { t } = useTranslation("job");
  const { id } = useParams({ from: "/shell/jobs/$id" });
  const job = useQuery({
    queryKey: ["job", id],
    queryFn: () => call<Job>("GET", `/jobs/${id}`),
    refetchInterval: (query) => (query.state.data && TERMINAL.has(query.state.data.state) ? false : 2000),
  });
  const live = useLive(id);
  if (job.error) return <Problem error={job.error} />;
  if (!job.data) return <Skeleton height={300} />;
  return (
    <Stack>
      <Header job={job.data} live={live} />
      {job.data.failure && (
        <Alert color="red" title={job.data.failure.detail} role="alert" style={{ whiteSpace: "pre-wrap" }}>
          {job.data.failure.advice}
        </Alert>
      )}
      {job.data.waiting_because && <Alert color="yellow">{job.data.waiting_because}</Alert>}
      <Tabs defaultValue="charts" keepMounted={false}>
        <Tabs.List mb="md">
          {["charts", "memory", "log", "spec", "files"].map((tab) => (
            <Tabs.Tab key={tab} value={tab}>
              {t(tab)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="charts">
          <Charts live={live} job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="memory">
          <Memory job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="log">
          <Log live={live} />
        </Tabs.Panel>
        <Tabs.Panel value="spec">
          <Spec job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="files">
          <Files job={job.data} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Header({ job, live }: { job: Job; live: Live }) {
  const { t } = useTranslation("job");
  const queries = useQueryClient();
  const navigate = useNavigate();
  const change = useMutation({
    mutationFn: (action: "cancel" | "retry") => call<Job>("POST", `/jobs/${job.id}/${action}`),
    onSuccess: (updated) => queries.setQueryData(["job", job.id], updated),
  });
  const remove = useMutation({
    mutationFn: () => call<void>("DELETE", `/jobs/${job.id}`),
    onSuccess: () => navigate({ to: "/" }),
  });
  const ended = TERMINAL.has(job.state);
  const step = Math.max(job.progress.step, live.steps.at(-1)?.step ?? 0);
  const total = job.progress.total_steps;
  const confirm = (what: "cancel" | "delete", act: () => void) =>
    modals.openConfirmModal({
      title: t(`${what}Title`),
      children: <Text size="sm">{t(`${what}About`)}</Text>,
      labels: { confirm: t(what === "cancel" ? "cancelJob" : "delete"), cancel: t("keep") },
      confirmProps: { color: "red" },
      onConfirm: act,
    });
  return (
    <div className="card">
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0 }}>
          <Group gap="sm">
            <Title order={1}>{job.name}</Title>
            <StateBadge state={job.state} />
          </Group>
          <Text className="muted" mt={4}>
            {job.spec.model.id} · {job.owner.username} · {t("attempt", { attempt: job.attempt })}
            {job.machine && ` · ${job.machine}`}
          </Text>
        </div>
        <Group gap="xs">
          {!ended && (
            <Button
              variant="default"
              disabled={job.state === "cancelling"}
              onClick={() => confirm("cancel", () => change.mutate("cancel"))}
            >
              {t("cancelJob")}
            </Button>
          )}
          {(job.state === "failed" || job.state === "cancelled") && (
            <Button onClick={() => change.mutate("retry")}>{t("retry")}</Button>
          )}
          <Button variant="default" component={Link} to={`/new?from=${job.id}`}>
            {t("clone")}
          </Button>
          {ended && (
            <Button variant="subtle" color="red" onClick={() => confirm("delete", () => remove.mutate())}>
              {t("delete")}
            </Button>
          )}
        </Group>
      </Group>
      {(change.error || remove.error) && <Problem error={change.error ?? remove.error} />}
      <Group justify="space-between" mt="md">
        <Text size="sm">
          {t("steps", { step, total: total ?? "?" })}
          {!ended && job.stage && ` · ${job.stage}`}
        </Text>
        {job.progress.eta_seconds !== null && (
          <Text size="sm">{t("eta", { eta: formatDuration(job.progress.eta_seconds) })}</Text>
        )}
      </Group>
      <Progress
        value={total ? (100 * step) / total : 0}
        mt={6}
        aria-label={t("progress")}
        animated={job.state === "running"}
      />
    </div>
  );
}

function Memory({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  return (
    <Stack>
      <div className="card">
        {job.estimate ? (
          <Stack gap="sm" align="stretch">
            <Group>
              <TierBadge tier={job.estimate.tier} />
            </Group>
            <MemoryLedger
              ledger={job.estimate.ledger}
              totalBytes={job.estimate.total_bytes}
              capacityBytes={job.estimate.device.total_bytes}
              label={t("predicted", { device: job.estimate.device.name })}
            />
          </Stack>
        ) : (
          <Text>{t("noEstimate", { reason: job.estimate_unknown_because })}</Text>
        )}
      </div>
      <SimpleGrid cols={{ base: 1, sm: 3 }}>
        {job.latest?.memory.map((figure) => (
          <div className="card" key={figure.source}>
            <Text className="muted" size="sm">
              {figure.source}
            </Text>
            <Text fz="xl" fw={650}>
              {figure.unknown_because ?? formatBytes(figure.peak_bytes ?? figure.bytes)}
            </Text>
            <Text size="sm" className="muted">
              {t("peakOfStep")}
            </Text>
          </div>
        ))}
      </SimpleGrid>
      {job.gpus.length === 0 && <Text className="muted">{t("cpuNote")}</Text>}
      <TracePanel job={job} />
    </Stack>
  );
}

function Log({ live }: { live: Live }) {
  const { t } = useTranslation("job");
  const box = useRef<HTMLPreElement>(null);
  const count = live.lines.length;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new line is what moves the view
  useEffect(() => {
    const element = box.current;
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < 120)
      element.scrollTop = element.scrollHeight;
  }, [count]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <pre ref={box} className="card log" tabIndex={0} role="log" aria-label={t("log")}>
      {count === 0 ? t("noLog") : live.lines.map((line) => `${line.line}\n`)}
    </pre>
  );
}

function Spec({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const text = stringify(job.spec);
  return (
    <Stack align="flex-start">
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="xs" variant="default" onClick={copy}>
            {t(copied ? "copied" : "copy")}
          </Button>
        )}
      </CopyButton>
      <Code block w="100%">
        {text}
      </Code>
    </Stack>
  );
}

type Artifact = { name: string; bytes: number; sha256: string; url: string };

function Files({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const files = useQuery({
    queryKey: ["artifacts", job.id, job.state],
    queryFn: () => call<Artifact[]>("GET", `/jobs/${job.id}/artifacts`),
  });
  if (files.error) return <Problem error={files.error} />;
  if (!files.data?.length) return <Text className="muted">{t("noFiles")}</Text>;
  return (
    <div className="card">
      <Table.ScrollContainer minWidth={520} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
        <Table>
          <Table.Tbody>
            {files.data.map((file) => (
              <Table.Tr key={file.name}>
                <Table.Td>
                  <Anchor href={file.url} download>
                    {file.name}
                  </Anchor>
                </Table.Td>
                <Table.Td>{formatBytes(file.bytes)}</Table.Td>
                <Table.Td>
                  <Code title={file.sha256}>{file.sha256.slice(0, 16)}…</Code>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </div>
  );
}
