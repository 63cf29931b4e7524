import { Alert, MultiSelect, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconChartLine } from "@tabler/icons-react";
import { useEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { RangeButtons } from "../../charts/RangeButtons";
import { MOST_RUNS, TimeSeries } from "../../charts/TimeSeries";
import { DescribedSwitch } from "../../ui/DescribedSwitch";
import { Empty } from "../../ui/Empty";
import { jobOptions, labelOf } from "../../ui/jobOption";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useUrlState } from "../../ui/urlState";
import { formatNumber, numberTicks } from "../../units";
import { evaluationOf, lossOf, Overlay } from "./overlay";
import { RunTable } from "./RunTable";
import { type Chosen, useChosen, useOffered, wantedOf } from "./runs";

const SETTLE_MILLISECONDS = 250;
const HEIGHT = 360;
const inThreeDigits = (value: number | null) => formatNumber(value, 3);

/** The loss curves of a few runs over each other; which ones is in the address, so that it can be linked to. */
export default function LossesPage() {
  const { t } = useTranslation("losses");
  const [{ runs, smooth }, change] = useUrlState();
  const { ids, leftOut } = wantedOf(runs);
  const chosen = useChosen(ids);
  const drawn = chosen.filter((run): run is Required<Chosen> => Boolean(run.metrics?.steps.length));
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        <div className="card">
          <Picker chosen={chosen} change={(wanted) => change({ runs: wanted.join(",") })} />
          <DescribedSwitch
            mt="md"
            label={t("smooth")}
            description={t("smoothAbout")}
            checked={Boolean(smooth)}
            onChange={(event) => change({ smooth: event.currentTarget.checked ? "on" : undefined })}
          />
        </div>
        {leftOut > 0 && (
          <Alert color="yellow" title={t("leftOut", { count: leftOut })}>
            {t("leftOutAbout", { most: MOST_RUNS })}
          </Alert>
        )}
        {chosen.map(({ id, error }) => error != null && <Problem key={id} error={error} />)}
        {ids.length === 0 && (
          <Empty icon={<IconChartLine size={26} />} title={t("none")} about={t("noneAbout")} />
        )}
        {drawn.length === 0 && chosen.length > 0 && chosen.every((run) => run.metrics) && (
          <Text className="muted" role="status">
            {t("noSteps")}
          </Text>
        )}
        {drawn.length > 0 && <Curves drawn={drawn} smooth={Boolean(smooth)} />}
        {chosen.some((run) => run.job) && <RunTable runs={chosen} drawn={drawn} />}
      </Stack>
    </>
  );
}

function Picker({ chosen, change }: { chosen: Chosen[]; change: (ids: string[]) => void }) {
  const { t } = useTranslation("losses");
  const [text, setText] = useState("");
  const [wanted] = useDebouncedValue(text.trim(), SETTLE_MILLISECONDS);
  const found = useOffered(wanted);
  const known = new Map(
    [...found, ...chosen.flatMap(({ job }) => (job ? [job] : []))].map((job) => [job.id, job]),
  );
  const data = [
    ...jobOptions([...known.values()]),
    // One that is not there, or not yet known, can be taken away all the same.
    ...chosen.filter(({ id }) => !known.has(id)).map(({ id }) => ({ value: id, label: id })),
  ];
  return (
    <MultiSelect
      label={t("runs")}
      description={t("runsAbout", { most: MOST_RUNS })}
      placeholder={chosen.length < MOST_RUNS ? t("choose") : undefined}
      searchable
      clearable
      clearButtonProps={{ "aria-label": t("clear") }}
      hidePickedOptions
      maxValues={MOST_RUNS}
      nothingFoundMessage={t("nothingFound")}
      searchValue={text}
      onSearchChange={setText}
      // The server has searched, also by id.
      filter={({ options }) => options}
      data={data}
      value={chosen.map(({ id }) => id)}
      onChange={change}
    />
  );
}

function Curves({ drawn, smooth }: { drawn: Required<Chosen>[]; smooth: boolean }) {
  const { t } = useTranslation(["losses", "job"]);
  const overlay = useMemo(() => new Overlay(), []);
  useEffect(() => overlay.show(drawn, smooth), [overlay, drawn, smooth]);
  const jobs = drawn.map(({ job }) => job);
  const evaluated = drawn.filter(({ metrics }) => metrics.evaluations.length > 0);
  const shared = {
    source: overlay,
    syncKey: "losses",
    stepLabel: t("job:stepAxis"),
    help: t("job:chartKeys"),
    format: inThreeDigits,
    ticks: numberTicks,
    tells: "each" as const,
  };
  const lineOf = (name: (id: string) => string, sparse: boolean) => (run: Required<Chosen>) => ({
    name: name(run.id),
    label: labelOf(run.job, jobs),
    place: drawn.indexOf(run),
    ...(sparse ? { sparse } : { joined: true }),
  });
  return (
    <>
      <RangeButtons source={overlay} />
      <TimeSeries
        {...shared}
        title={t(smooth ? "lossSmoothed" : "job:loss")}
        height={HEIGHT}
        lines={drawn.map(lineOf(lossOf, false))}
      />
      {evaluated.length > 0 && (
        <TimeSeries
          {...shared}
          title={t("job:evaluation_loss")}
          lines={evaluated.map(lineOf(evaluationOf, true))}
        />
      )}
    </>
  );
}
