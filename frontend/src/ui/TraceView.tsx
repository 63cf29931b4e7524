import { Alert, Badge, Button, Group, Loader, SimpleGrid, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Trace, TraceStatus } from "../api/types";
import { StepAnatomy } from "../charts/StepAnatomy";
import { useSaid } from "../i18n/sentence";
import { formatBytes } from "../units";
import { Assumptions } from "./Assumptions";

/** Mantine's own title colour is too pale on its light background (WCAG AA). */
const READABLE = { title: { color: "light-dark(#7a3b00, #ffd43b)" } };

type Props = { status: TraceStatus; again?: () => void };

/** An exact trace, however far it is: pending, failed with its reason, or the figures and the timeline of a step. */
export function TraceView({ status, again }: Props) {
  const { t } = useTranslation("trace");
  const said = useSaid();
  if (status.state === "pending")
    return (
      <Group gap="sm" wrap="nowrap" role="status">
        <Loader size="sm" aria-hidden />
        <div>
          <Text>{t("pending")}</Text>
          <Text size="sm" className="muted">
            {said(status.reason ?? "", status.reason_sentence)}
          </Text>
        </div>
      </Group>
    );
  if (status.state === "failed" || !status.trace)
    return (
      <Alert color="yellow" title={t("failed")} styles={READABLE}>
        <Text size="sm" style={{ whiteSpace: "pre-line" }}>
          {said(status.reason ?? "", status.reason_sentence)}
        </Text>
        {again && (
          <Button mt="sm" size="xs" variant="default" onClick={again}>
            {t("again")}
          </Button>
        )}
      </Alert>
    );
  return <Ready trace={status.trace} comparison={status.comparison} />;
}

function Ready({ trace, comparison }: { trace: Trace; comparison: TraceStatus["comparison"] }) {
  const { t } = useTranslation("trace");
  const versions = Object.entries(trace.versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
  return (
    <Stack>
      <SimpleGrid type="container" cols={{ base: 2, "560px": 4 }} spacing="sm">
        {(
          [
            ["activePeak", trace.peak_bytes],
            ["reservedPeak", trace.replay.reserved_peak_bytes],
            ["smallestBudget", trace.replay.smallest_budget_bytes],
            ["firstStep", trace.first_step_peak_bytes],
          ] as const
        ).map(([name, bytes]) => (
          <div key={name}>
            <Text size="sm">{t(name)}</Text>
            <Text fz="lg" fw={650}>
              {formatBytes(bytes)}
            </Text>
            <Text size="xs" className="muted">
              {t(`${name}About`)}
            </Text>
          </div>
        ))}
      </SimpleGrid>
      {comparison?.differs && (
        <Alert color="yellow" title={t("differsTitle")} styles={READABLE}>
          {t("differs", {
            formula: formatBytes(comparison.formula_bytes),
            trace: formatBytes(comparison.trace_bytes),
            percent: comparison.difference_percent.toFixed(1),
          })}
        </Alert>
      )}
      <StepAnatomy
        title={t("timeline")}
        points={trace.timeline}
        marks={[{ label: t("smallestBudget"), bytes: trace.replay.smallest_budget_bytes }]}
      />
      <details>
        <summary>{t("how")}</summary>
        <Text size="sm" mt={4}>
          {t("howAbout", { versions, seconds: trace.seconds.toFixed(1) })}
        </Text>
        <Assumptions assumptions={trace.assumptions} sentences={trace.assumption_sentences} />
      </details>
    </Stack>
  );
}

const TIERS = {
  formula: { name: "tierFormula", about: "formulaAbout" },
  trace: { name: "tierTrace", about: "traceAbout" },
  probe: { name: "tierProbe", about: "probeAbout" },
};

/** Which tier an estimate is of: the closed form, the exact trace, or a probe of the job itself. */
export function TierBadge({ tier = "formula" }: { tier?: keyof typeof TIERS }) {
  const { t } = useTranslation("trace");
  const exact = tier !== "formula";
  return (
    <Badge
      variant="light"
      color={exact ? "teal" : "gray"}
      tt="none"
      title={t(TIERS[tier].about)}
      styles={{ label: { color: exact ? "light-dark(#05573f, #96f2d7)" : "light-dark(#495057, #ced4da)" } }}
    >
      {t(TIERS[tier].name)}
    </Badge>
  );
}
