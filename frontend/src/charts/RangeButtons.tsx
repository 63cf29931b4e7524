import { Button, Group, Text } from "@mantine/core";
import { type ReactNode, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { moved, zoomed } from "./range";
import type { Source } from "./TimeSeries";

/** Which steps the charts of a source show, and buttons for those who cannot drag or press keys; ``children`` stand between. */
export function RangeButtons({ source, children }: { source: Source; children?: ReactNode }) {
  const { t } = useTranslation("job");
  const range = useSyncExternalStore(source.onFrame, () => source.range);
  const act = (change: typeof zoomed, by: number) => () => {
    const extent = source.extent();
    if (extent) source.look(change(source.range ?? extent, extent, by));
  };
  const actions = [
    { name: "zoomIn", sign: "+", run: act(zoomed, 0.5), off: false },
    { name: "zoomOut", sign: "−", run: act(zoomed, 2), off: range === null },
    { name: "earlierSteps", sign: "←", run: act(moved, -0.5), off: range === null },
    { name: "laterSteps", sign: "→", run: act(moved, 0.5), off: range === null },
  ];
  return (
    <Group justify="space-between" mb="xs" gap="xs">
      <Text size="sm" className="muted" aria-live="polite">
        {range
          ? t("stepsShown", { first: Math.ceil(range.min), last: Math.floor(range.max) })
          : t("allSteps")}
      </Text>
      {children}
      <Group gap={6} role="toolbar" aria-label={t("chartRange")}>
        {actions.map(({ name, sign, run, off }) => (
          <Button
            key={name}
            size="compact-sm"
            variant="default"
            aria-label={t(name)}
            title={t(name)}
            disabled={off}
            onClick={run}
          >
            {sign}
          </Button>
        ))}
        <Button
          size="compact-sm"
          variant="default"
          disabled={range === null}
          onClick={() => source.look(null)}
        >
          {t("resetRange")}
        </Button>
      </Group>
    </Group>
  );
}
