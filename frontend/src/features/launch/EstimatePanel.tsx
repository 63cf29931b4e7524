import { Badge, Group, Select, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { ApiProblem } from "../../api/client";
import type { Estimate } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { useSaid } from "../../i18n/sentence";
import { read } from "../../spec/spec";
import { Assumptions } from "../../ui/Assumptions";
import { TierBadge } from "../../ui/TraceView";
import { formatBytes } from "../../units";
import { Advice } from "./Advice";
import { ConfigFile, type ModelConfig } from "./ConfigFile";
import type { DraftState } from "./draft";
import { useCatalogue } from "./Essentials";
import { FIT_COLOURS } from "./fit";
import { errorsOf } from "./problems";
import { ServerGpus } from "./ServerGpus";
import { VerifyPanel } from "./VerifyPanel";

type Props = {
  draft: DraftState;
  estimate: { data?: Estimate; error: unknown; isFetching: boolean };
  gpu: string | undefined;
  setGpu: (gpu: string) => void;
  config?: ModelConfig;
  setConfig: (config?: ModelConfig) => void;
};

/** VRAM at the peak as one types: by category, and against each GPU of this server or one of the catalogue. */
export function EstimatePanel({ draft, estimate, gpu, setGpu, config, setConfig }: Props) {
  const { t } = useTranslation("launch");
  const said = useSaid();
  const { data, error } = estimate;
  const known = useCatalogue().data;
  const here = known?.server_gpus.map((item) => item.name) ?? [];
  const others = known?.gpus.map((item) => item.name).filter((name) => !here.includes(name)) ?? [];
  const gpus = [
    ...(here.length > 0 ? [{ group: t("hereOnServer"), items: here }] : []),
    { group: t("otherGpus"), items: others },
  ];
  const wanted = Number(read(draft.spec, "parallelism.gpus") ?? 1);
  const unknownModel = errorsOf(error).some(({ loc }) => loc === "model.id" || loc.startsWith("config."));
  return (
    <section
      id="estimate"
      className="card estimate"
      aria-label={t("estimate")}
      aria-busy={estimate.isFetching}
    >
      <Group justify="space-between" mb="sm" wrap="nowrap">
        <Group gap="xs">
          <Title order={2}>{t("estimate")}</Title>
          <TierBadge tier={data?.tier} />
        </Group>
        <Select
          aria-label={t("compareGpu")}
          size="xs"
          w={170}
          comboboxProps={{ width: 260, position: "bottom-end" }}
          searchable
          allowDeselect={false}
          data={gpus}
          value={gpu ?? null}
          onChange={(chosen) => chosen && setGpu(chosen)}
        />
      </Group>
      {!data && !error && <Skeleton height={160} />}
      {Boolean(error) && <NoEstimate error={error} source={read(draft.spec, "model.source")} />}
      {(unknownModel || config) && (
        <ConfigFile
          model={String(read(draft.spec, "model.id") ?? "")}
          config={config}
          setConfig={setConfig}
        />
      )}
      {data && !error && (
        <Stack gap="md">
          <MemoryLedger
            ledger={data.ledger}
            totalBytes={data.total_bytes}
            capacityBytes={data.device.total_bytes}
            label={data.device.name}
          />
          <Verdict
            name={data.device.name}
            fit={data.fit}
            each={wanted > 1}
            note={
              data.interval &&
              t("between", { low: formatBytes(data.interval[0]), high: formatBytes(data.interval[1]) })
            }
          />
          {data.when_full && <Text size="sm">{said(data.when_full.text, data.when_full)}</Text>}
          <ServerGpus estimate={data} wanted={wanted} />
          <Advice draft={draft} gpu={data.device.name} fits={data.fits} config={config?.values} />
          <VerifyPanel spec={draft.spec} />
          <details>
            <summary>{t("assumptions")}</summary>
            <Assumptions assumptions={data.assumptions} sentences={data.assumption_sentences} />
          </details>
        </Stack>
      )}
    </section>
  );
}

type VerdictProps = { name: string; fit: Estimate["fit"]; note?: string; each: boolean };

function Verdict({ name, fit, note, each }: VerdictProps) {
  const { t } = useTranslation("launch");
  return (
    <Group gap="xs" role="status">
      <Badge variant="light" color={FIT_COLOURS[fit]}>
        {t(`fit_${fit}`)}
      </Badge>
      <Text size="sm">{t(`fit_${fit}_${each ? "each" : "about"}`, { device: name })}</Text>
      {note && (
        <Text size="xs" className="muted">
          {note}
        </Text>
      )}
    </Group>
  );
}

/** Where models are listed here: one that is not on the list is nowhere, and does not run either. */
const NO_SUCH_MODEL: Record<string, string> = {
  library: "notInLibraryAtAll",
  catalogue: "notInCatalogueAtAll",
};

/** An estimate that cannot be made is no error of the job: say why, and that it can run all the same where it can. */
function NoEstimate({ error, source }: { error: unknown; source: unknown }) {
  const { t } = useTranslation("launch");
  const problem = error instanceof ApiProblem ? error : undefined;
  const unknown = errorsOf(problem).find((item) => item.loc === "model.id");
  const nowhere = unknown?.type === "not_in_catalogue" ? NO_SUCH_MODEL[String(source)] : undefined;
  return (
    <Text size="sm" className="muted" role="status">
      {unknown
        ? t(nowhere ?? "noEstimateModel")
        : problem?.status === 422
          ? t("noEstimateYet")
          : t("noEstimateNow")}
    </Text>
  );
}
