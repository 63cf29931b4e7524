import { Anchor, SimpleGrid, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { gpuOfSource, sourceOfEachGpu } from "../../api/gpuSource";
import { standing } from "../../api/runMemory";
import { type Job, TERMINAL } from "../../api/types";
import { RangeButtons } from "../../charts/RangeButtons";
import { type Line, TimeSeries } from "../../charts/TimeSeries";
import { useSaid } from "../../i18n/sentence";
import { useSourceName } from "../../i18n/source";
import { bytesMarks, bytesTicks, formatBytes, formatNumber, numberTicks } from "../../units";
import { EVALUATED } from "./columns";
import type { LiveJob } from "./liveJob";

const SCALARS = ["loss", "learning_rate", "grad_norm", "tokens_per_second", "step_seconds"] as const;
const UNITS: Partial<Record<(typeof SCALARS)[number], string>> = {
  tokens_per_second: "tokens/s",
  step_seconds: "s",
};
const METER = "meter_seconds";
const PEAK = "memory_peak.";
const NOW = "memory.";
const PHASE = "phase_peak.";
/** A phase's name is the last word of its series' name, after that of its source. */
const PHASES = ["data", "forward", "loss", "backward", "optimizer", "evaluation", "checkpoint"] as const;

const inBytes = (value: number | null) => formatBytes(value);
const inThreeDigits = (value: number | null) => formatNumber(value, 3);

export function Charts({ live, job }: { live: LiveJob; job: Job }) {
  const { t } = useTranslation(["job", "anatomy"]);
  const nameOf = useSourceName();
  const { step, names } = useSyncExternalStore(live.onSnapshot, live.snapshot);
  if (step === null)
    return <Text className="muted">{t(TERMINAL.has(job.state) ? "endedUnstepped" : "noSteps")}</Text>;
  const known = names.split("\n");
  const marker =
    job.gpus.length > 0 && job.estimate
      ? { label: t("estimate"), value: job.estimate.total_bytes }
      : undefined;
  const memory = memoryLines(known);
  const eachGpu = sourceOfEachGpu(memory.map(({ source }) => source)).flatMap((of) => {
    const label = t("gpuOfJob", { gpu: gpuOfSource(of).gpu, gpus: job.gpus.length });
    return memory.filter(({ source }) => source === of).map(({ name }) => ({ name, label }));
  });
  const ofFirst = (title: string) => (eachGpu.length > 0 ? t("ofFirstGpu", { title }) : title);
  const phases = phaseLines(known).map(({ phase, name }) => ({ name, label: t(`anatomy:${phase}`) }));
  const evaluated = known.includes(EVALUATED)
    ? [{ name: EVALUATED, label: t("evaluation_loss"), sparse: true }]
    : [];
  const beside: Partial<Record<(typeof SCALARS)[number], Line[]>> = {
    loss: evaluated,
    step_seconds: known.includes(METER) ? [{ name: METER, label: t("meter_seconds") }] : [],
  };
  const shared = { source: live, syncKey: job.id, stepLabel: t("stepAxis"), help: t("chartKeys") };
  return (
    <>
      <RangeButtons source={live}>
        <Anchor
          size="sm"
          ml="auto"
          mr="xs"
          renderRoot={(props) => <Link {...props} to="/losses" search={{ runs: job.id } as never} />}
        >
          {t("withOtherRuns")}
        </Anchor>
      </RangeButtons>
      <Missing job={job} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <TimeSeries
          {...shared}
          title={ofFirst(t("memoryPerStep"))}
          lines={memory
            .filter(({ source }) => gpuOfSource(source).gpu === 1)
            .map(({ source, name }) => ({ name, label: nameOf(source) }))}
          format={inBytes}
          ticks={bytesTicks}
          marks={bytesMarks}
          marker={marker}
        />
        {eachGpu.length > 0 && (
          <TimeSeries
            {...shared}
            title={t("memoryPerGpu")}
            lines={eachGpu}
            tells="highest"
            format={inBytes}
            ticks={bytesTicks}
            marks={bytesMarks}
            marker={marker}
          />
        )}
        {phases.length > 0 && (
          <TimeSeries
            {...shared}
            title={ofFirst(t("memoryPerPhase"))}
            lines={phases}
            tells="highest"
            format={inBytes}
            ticks={bytesTicks}
            marks={bytesMarks}
          />
        )}
        {SCALARS.map((name) => (
          <TimeSeries
            {...shared}
            key={name}
            title={t(name)}
            unit={UNITS[name]}
            lines={[{ name, label: t(name) }, ...(beside[name] ?? [])]}
            format={inThreeDigits}
            ticks={numberTicks}
          />
        ))}
      </SimpleGrid>
    </>
  );
}

/** The memory sources that have no line, and why: a line that is not there would say that nothing is amiss. */
function Missing({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const nameOf = useSourceName();
  const said = useSaid();
  return job.latest?.memory?.map(
    ({ source, unknown_because: because, unknown_sentence: sentence }) =>
      because && (
        <Text key={source} size="sm" className="muted" mb="xs">
          {t("missingFigure", { figure: nameOf(source), reason: said(because, sentence) })}
        </Text>
      ),
  );
}

/** One line for each memory source: its peak within the step where that is measured, else the figure at the step's end. The one that
 * stands for the run comes first: the chart's title tells it. */
function memoryLines(names: string[]) {
  const sources = new Set(
    names
      .filter((name) => name.startsWith(NOW) || name.startsWith(PEAK))
      .map((name) => name.slice(name.indexOf(".") + 1)),
  );
  const ordered = [...sources].sort((one, other) => standing(one) - standing(other));
  return ordered.map((source) => ({
    source,
    name: names.includes(PEAK + source) ? PEAK + source : NOW + source,
  }));
}

/** One line for each phase of a step: its peak, from torch's allocator where there is one, else from the first source. */
function phaseLines(names: string[]) {
  const peaks = names.filter((name) => name.startsWith(PHASE));
  const source = (name: string) => name.slice(PHASE.length, name.lastIndexOf("."));
  const chosen = source(peaks.find((name) => name.startsWith(`${PHASE}torch`)) ?? peaks[0] ?? "");
  return PHASES.map((phase) => ({ phase, name: `${PHASE}${chosen}.${phase}` })).filter(({ name }) =>
    peaks.includes(name),
  );
}
