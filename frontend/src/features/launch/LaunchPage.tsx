import {
  Alert,
  Autocomplete,
  Button,
  Grid,
  Group,
  NumberInput,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Tabs,
  Text,
  Textarea,
  TextInput,
  Title,
} from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { parse, stringify } from "yaml";
import { ApiProblem, call } from "../../api/client";
import type { Dataset, Estimate, Job, LibraryModel } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { TierBadge } from "../../ui/TraceView";
import { type Field, read, SECTIONS, START, write } from "./sections";
import { VerifyPanel } from "./VerifyPanel";

type Spec = typeof START & { [key: string]: unknown };

export default function LaunchPage() {
  const { t } = useTranslation("launch");
  const navigate = useNavigate();
  const { from } = useSearch({ strict: false }) as { from?: string };
  const [spec, setSpec] = useState<Spec>(START);
  const original = useQuery({
    queryKey: ["job", from],
    queryFn: () => call<Job>("GET", `/jobs/${from}`),
    enabled: Boolean(from),
  });
  useEffect(() => {
    if (original.data) setSpec(original.data.spec as unknown as Spec);
  }, [original.data]);
  const create = useMutation({
    mutationFn: () => call<Job>("POST", "/jobs", spec),
    onSuccess: (job) => navigate({ to: "/jobs/$id", params: { id: job.id } }),
  });
  const problem = create.error instanceof ApiProblem ? create.error : undefined;
  const change = (path: string, value: unknown) => setSpec((before) => write(before, path, value));
  return (
    <>
      <PageHead title={t("title")} about={t("about")}>
        <Button loading={create.isPending} onClick={() => create.mutate()}>
          {t("launch")}
        </Button>
      </PageHead>
      {create.error && (
        <div style={{ marginBottom: 16 }}>
          <Problem error={create.error} />
        </div>
      )}
      <Grid gutter="lg">
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Tabs defaultValue="form" keepMounted={false}>
            <Tabs.List mb="md">
              <Tabs.Tab value="form">{t("form")}</Tabs.Tab>
              <Tabs.Tab value="yaml">YAML</Tabs.Tab>
            </Tabs.List>
            <Tabs.Panel value="form">
              <Form spec={spec} change={change} problem={problem} />
            </Tabs.Panel>
            <Tabs.Panel value="yaml">
              <Yaml spec={spec} setSpec={setSpec} />
            </Tabs.Panel>
          </Tabs>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <LiveEstimate spec={spec} />
        </Grid.Col>
      </Grid>
    </>
  );
}

type FormProps = { spec: Spec; change: (path: string, value: unknown) => void; problem?: ApiProblem };

function Form({ spec, change, problem }: FormProps) {
  const { t } = useTranslation("launch");
  const models = useQuery({
    queryKey: ["models"],
    queryFn: () => call<{ items: LibraryModel[] }>("GET", "/models"),
  });
  const datasets = useQuery({
    queryKey: ["datasets"],
    queryFn: () => call<{ items: Dataset[] }>("GET", "/datasets"),
  });
  return (
    <Stack>
      <section className="card">
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <TextInput
            label={t("name")}
            value={spec.name}
            error={problem?.field("name")}
            onChange={(event) => change("name", event.currentTarget.value)}
          />
          <Select
            label={t("source")}
            allowDeselect={false}
            data={["library", "huggingface", "modelscope"].map((value) => ({
              value,
              label: t(`source_${value}`),
            }))}
            value={spec.model.source}
            error={problem?.field("model.source")}
            onChange={(value) => change("model.source", value)}
          />
          <Autocomplete
            label={t("model")}
            description={t("modelHelp")}
            data={
              spec.model.source === "library" ? (models.data?.items.map((model) => model.name) ?? []) : []
            }
            value={spec.model.id}
            error={problem?.field("model.id")}
            onChange={(value) => change("model.id", value)}
          />
          <Select
            label={t("dataset")}
            description={t("datasetHelp")}
            searchable
            data={datasets.data?.items.map((dataset) => dataset.name) ?? []}
            value={spec.data.dataset}
            error={problem?.field("data.dataset")}
            onChange={(value) => change("data.dataset", value)}
          />
        </SimpleGrid>
      </section>
      {SECTIONS.map((section) => (
        <section className="card" key={section.name}>
          <Title order={2}>{t(section.name)}</Title>
          <Text className="muted" size="sm" mb="md">
            {t(`${section.name}_about`)}
          </Text>
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            {section.fields.map((field) => (
              <Entry
                key={field.path}
                field={field}
                value={read(spec, field.path)}
                change={change}
                error={problem?.field(field.path)}
              />
            ))}
          </SimpleGrid>
        </section>
      ))}
    </Stack>
  );
}

type EntryProps = { field: Field; value: unknown; change: FormProps["change"]; error?: string };

function Entry({ field, value, change, error }: EntryProps) {
  const { t } = useTranslation("launch");
  const label = t(field.path.replace(".", "_"));
  if (field.kind === "switch")
    return (
      <Switch
        label={label}
        mt={26}
        checked={Boolean(value)}
        error={error}
        onChange={(event) => change(field.path, event.currentTarget.checked)}
      />
    );
  if (field.kind === "choice")
    return (
      <Select
        label={label}
        allowDeselect={false}
        data={field.options}
        value={String(value)}
        error={error}
        onChange={(chosen) => change(field.path, chosen)}
      />
    );
  return (
    <NumberInput
      label={label}
      min={field.min}
      step={field.step}
      value={(value as number | null) ?? ""}
      error={error}
      onChange={(entered) => change(field.path, entered === "" ? null : entered)}
    />
  );
}

function Yaml({ spec, setSpec }: { spec: Spec; setSpec: (spec: Spec) => void }) {
  const { t } = useTranslation("launch");
  const [text, setText] = useState(() => stringify(spec));
  const [error, setError] = useState<string>();
  const edit = (entered: string) => {
    setText(entered);
    try {
      const value = parse(entered);
      if (typeof value !== "object" || value === null || !value.model || !value.data)
        throw new Error(t("yamlNeeds"));
      setSpec(value);
      setError(undefined);
    } catch (problem) {
      setError(String((problem as Error).message));
    }
  };
  return (
    <Textarea
      label={t("yaml")}
      description={t("yamlHelp")}
      autosize
      minRows={20}
      styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 13 } }}
      value={text}
      error={error}
      onChange={(event) => edit(event.currentTarget.value)}
    />
  );
}

function LiveEstimate({ spec }: { spec: Spec }) {
  const { t } = useTranslation("launch");
  const [settled] = useDebouncedValue(spec, 200);
  const estimate = useQuery({
    queryKey: ["estimate", settled],
    queryFn: () => call<Estimate>("POST", "/estimates", { spec: settled }),
    placeholderData: (before) => before,
    retry: false,
  });
  return (
    <section className="card beside-form">
      <Group justify="space-between" mb="sm">
        <Title order={2}>{t("estimate")}</Title>
        <TierBadge tier={estimate.data?.tier} />
      </Group>
      <div aria-live="polite">
        {estimate.error ? (
          <Problem error={estimate.error} />
        ) : estimate.data ? (
          <Stack>
            <MemoryLedger
              ledger={estimate.data.ledger}
              totalBytes={estimate.data.total_bytes}
              capacityBytes={estimate.data.device.total_bytes}
              label={estimate.data.device.name}
            />
            {!estimate.data.fits && (
              <Alert color="red">{t("doesNotFit", { device: estimate.data.device.name })}</Alert>
            )}
            {estimate.data.gpus?.length === 0 && <Text className="muted">{t("noGpu")}</Text>}
            {estimate.data.gpus?.map((gpu) => (
              <Text key={gpu.uuid} size="sm">
                {gpu.machine} · {gpu.name}:{" "}
                {gpu.fits === null ? t("unknown") : t(gpu.fits ? "takesIt" : "tooSmall")}
              </Text>
            ))}
            <details>
              <summary>{t("assumptions")}</summary>
              <ul>
                {estimate.data.assumptions.map((assumption) => (
                  <li key={assumption}>
                    <Text size="sm">{assumption}</Text>
                  </li>
                ))}
              </ul>
            </details>
          </Stack>
        ) : (
          <Text className="muted">…</Text>
        )}
      </div>
      {estimate.data && !estimate.error && <VerifyPanel spec={settled} />}
    </section>
  );
}
