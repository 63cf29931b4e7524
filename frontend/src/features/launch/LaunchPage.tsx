import { Alert, Button, Grid, Group, List, Skeleton, Stack, Tabs } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconRocket } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem, call } from "../../api/client";
import type { Estimate, Job } from "../../api/types";
import { placedText } from "../../i18n/problem";
import { ofToday, type SpecSchema, useSpecSchema } from "../../spec/schema";
import { read } from "../../spec/spec";
import { useLastAnswer } from "../../ui/lastAnswer";
import { NoWorker } from "../../ui/NoWorker";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useUrlState } from "../../ui/urlState";
import type { ModelConfig } from "./ConfigFile";
import { type DraftState, useDraft } from "./draft";
import { Essentials, useCatalogue } from "./Essentials";
import { EstimateBar } from "./EstimateBar";
import { EstimatePanel } from "./EstimatePanel";
import { Presets } from "./Presets";
import { type Problems, problemsOf } from "./problems";
import { Sections } from "./Sections";
import { YamlView } from "./YamlView";

const SETTLE_MILLISECONDS = 200;
const ESSENTIAL = ["name", "model.source", "model.id", "model.revision", "data.dataset"];
const REFERENCE_GPU = "A100-80GB";

export default function LaunchPage() {
  const { t } = useTranslation("launch");
  const schema = useSpecSchema();
  const draft = useDraft();
  const [{ view }] = useUrlState();
  const [gpu, setGpu] = useGpu();
  const source = usePrefill(draft, schema.data);
  const model = String(read(draft.spec, "model.id") ?? "");
  const [chosen, setConfig] = useState<ModelConfig>();
  const config = chosen?.of === model ? chosen : undefined;
  const estimate = useEstimate(draft, gpu, config);
  const launch = useLaunch(draft);
  const fields = new Set([...ESSENTIAL, ...(schema.data?.byPath.keys() ?? [])]);
  const problems = problemsOf(launch.error, estimate.error, fields);
  const other = launch.error && problems.all.length === 0 ? launch.error : undefined;
  return (
    <>
      <PageHead title={t("title")} about={t("about")}>
        <Presets draft={draft} />
        <Button
          leftSection={<IconRocket size={16} aria-hidden />}
          loading={launch.isPending}
          disabled={Boolean(draft.yamlProblem)}
          onClick={() => launch.mutate()}
        >
          {t("launch")}
        </Button>
      </PageHead>
      <Stack mb="md" gap="sm">
        <NoWorker />
        {source.error && <Problem error={source.error} />}
        {other && <Problem error={other} />}
        {launch.error && problems.all.length > 0 && (
          <Alert color="red" role="alert" title={t("cannotRun", { count: problems.all.length })}>
            {t("cannotRunFix")}
          </Alert>
        )}
        {problems.general.length > 0 && view !== "yaml" && (
          <Alert color="red" title={t("general")}>
            <List size="sm">
              {problems.general.map((error) => (
                <List.Item key={error.loc}>{placedText(error)}</List.Item>
              ))}
            </List>
          </Alert>
        )}
        {schema.error && <Problem error={schema.error} retry={schema.refetch} />}
      </Stack>
      <Grid gutter="lg">
        <Grid.Col span={{ base: 12, md: 7 }}>
          {schema.data ? (
            <Entry draft={draft} schema={schema.data} problems={problems} />
          ) : (
            <Skeleton height={480} radius={12} />
          )}
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <EstimatePanel
            draft={draft}
            estimate={estimate}
            gpu={gpu}
            setGpu={setGpu}
            config={config}
            setConfig={setConfig}
          />
        </Grid.Col>
      </Grid>
      <EstimateBar estimate={estimate.error ? undefined : estimate.data} />
    </>
  );
}

function Entry({ draft, schema, problems }: { draft: DraftState; schema: SpecSchema; problems: Problems }) {
  const { t } = useTranslation("launch");
  const [{ view }, show] = useUrlState();
  return (
    <Tabs
      value={view === "yaml" ? "yaml" : "form"}
      onChange={(chosen) => show({ view: chosen === "yaml" ? "yaml" : undefined })}
      keepMounted={false}
    >
      <Tabs.List mb="md">
        <Tabs.Tab value="form">{t("form")}</Tabs.Tab>
        <Tabs.Tab value="yaml">YAML</Tabs.Tab>
      </Tabs.List>
      <Tabs.Panel value="form">
        {draft.yamlProblem ? (
          <Alert color="yellow" title={t("yamlFirst")}>
            {t("yamlFirstAbout", { line: draft.yamlProblem.line })}
            <Group mt="sm" gap="xs">
              <Button size="xs" onClick={() => show({ view: "yaml" })}>
                {t("toYaml")}
              </Button>
              <Button size="xs" variant="default" onClick={draft.dropText}>
                {t("dropYaml")}
              </Button>
            </Group>
          </Alert>
        ) : (
          <Stack>
            <Essentials draft={draft} schema={schema} problems={problems} />
            <Sections draft={draft} schema={schema} problems={problems} />
          </Stack>
        )}
      </Tabs.Panel>
      <Tabs.Panel value="yaml">
        <YamlView draft={draft} problems={problems} />
      </Tabs.Panel>
    </Tabs>
  );
}

/** Begins with the spec of another job (?from=), or with a data set or model of their pages; once, then it is the draft's. */
function usePrefill(draft: DraftState, schema?: SpecSchema) {
  const [{ from, dataset, model }, change] = useUrlState();
  const wanted = from && draft.from !== from ? from : undefined;
  const source = useQuery({
    queryKey: ["job", wanted],
    queryFn: () => call<Job>("GET", `/jobs/${encodeURIComponent(wanted ?? "")}`),
    enabled: Boolean(wanted),
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what arrives by the address or the server begins anew
  useEffect(() => {
    if (source.data && wanted && schema) draft.replace(ofToday(source.data.spec, schema), wanted);
  }, [source.data, wanted, schema]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: taken once from the address
  useEffect(() => {
    if (dataset) draft.change({ "data.dataset": dataset });
    if (model) draft.change({ "model.id": model, "model.source": "library" });
    if (dataset || model) change({ dataset: undefined, model: undefined });
  }, [dataset, model]);
  return source;
}

/** The GPU that the estimate is held against: this server's largest until one is chosen that is there. Undefined until that is known. */
function useGpu() {
  const [chosen, setGpu] = useState<string>();
  const { data, isPending } = useCatalogue();
  if (isPending) return [undefined, setGpu] as const;
  const known = [...(data?.server_gpus ?? []), ...(data?.gpus ?? [])].map(({ name }) => name);
  const own = data?.server_gpus[0]?.name ?? REFERENCE_GPU;
  return [chosen && known.includes(chosen) ? chosen : own, setGpu] as const;
}

function useEstimate(draft: DraftState, gpu: string | undefined, config?: ModelConfig) {
  const [settled] = useDebouncedValue(draft.spec, SETTLE_MILLISECONDS);
  const asked = useQuery({
    queryKey: ["estimate", settled, gpu, config?.values],
    queryFn: () => call<Estimate>("POST", "/estimates", { spec: settled, gpu, config: config?.values }),
    enabled: gpu !== undefined,
    retry: (count, error) => error instanceof ApiProblem && error.status === 0 && count < 2,
    refetchInterval: 10_000,
  });
  return { ...useLastAnswer(asked), isFetching: asked.isFetching };
}

function useLaunch(draft: DraftState) {
  const navigate = useNavigate();
  const launch = useMutation({
    mutationFn: () => call<Job>("POST", "/jobs", draft.spec),
    onSuccess: (job) => {
      draft.clear();
      void navigate({ to: "/jobs/$id", params: { id: job.id } });
    },
    onError: () => {
      setTimeout(() => document.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus(), 100);
    },
  });
  const { reset } = launch;
  // biome-ignore lint/correctness/useExhaustiveDependencies: what the last launch said holds until the spec changes
  useEffect(() => reset(), [draft.spec]);
  return launch;
}
