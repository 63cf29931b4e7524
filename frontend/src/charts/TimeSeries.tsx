import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";

export type Line = {
  label: string;
  values: (number | null)[];
  low?: (number | null)[];
  high?: (number | null)[];
};

const COLOURS = ["#0b7285", "#d9480f", "#5f3dc4", "#2b8a3e", "#a61e4d"];
const COLOURS_DARK = ["#3bc9db", "#ffa94d", "#b197fc", "#69db7c", "#f783ac"];
const HEIGHT = 190;

type Props = {
  title: string;
  steps: number[];
  lines: Line[];
  format: (value: number | null) => string;
  syncKey: string;
  marker?: { label: string; value: number };
};

/** A chart over steps. Cursors of one page move together; drag zooms, double click resets. */
export function TimeSeries({ title, steps, lines, format, syncKey, marker }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const dark = useComputedColorScheme("light") === "dark";
  const shape = lines.map((line) => line.label).join("|") + (marker?.label ?? "");
  const data = [
    steps,
    ...lines.map((line) => line.values),
    ...(marker ? [steps.map(() => marker.value)] : []),
  ] as uPlot.AlignedData;
  const latest = useRef(data);
  latest.current = data;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is rebuilt only when its shape or colours change
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const colours = dark ? COLOURS_DARK : COLOURS;
    const grid = { stroke: dark ? "#33373b" : "#e9ecef", width: 1 };
    const axis = { stroke: dark ? "#a5adb5" : "#586069", grid, ticks: grid, font: "11px system-ui" };
    const plot = new uPlot(
      {
        width: element.clientWidth || 400,
        height: HEIGHT,
        cursor: { sync: { key: syncKey }, drag: { x: true, y: false } },
        scales: { x: { time: false } },
        axes: [axis, { ...axis, size: 74, values: (_plot, values) => values.map((value) => format(value)) }],
        series: [
          { label: "step" },
          ...lines.map((line, index) => ({
            label: line.label,
            stroke: colours[index % colours.length],
            width: 1.6,
            points: { show: steps.length < 60, size: 4 },
            value: (_plot: uPlot, value: number | null) => format(value),
          })),
          ...(marker
            ? [
                {
                  label: marker.label,
                  stroke: dark ? "#ff8787" : "#c92a2a",
                  dash: [6, 4],
                  points: { show: false },
                  value: (_plot: uPlot, value: number | null) => format(value),
                },
              ]
            : []),
        ],
      },
      latest.current,
      element,
    );
    chart.current = plot;
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
      chart.current = undefined;
    };
  }, [shape, dark, syncKey]);

  useEffect(() => {
    const frame = requestAnimationFrame(() => chart.current?.setData(latest.current));
    return () => cancelAnimationFrame(frame);
  });

  const newest = lines[0]?.values.at(-1) ?? null;
  return (
    <figure className="card" style={{ margin: 0 }}>
      <figcaption style={{ fontWeight: 600, marginBottom: 8 }}>
        {title} <span className="muted">{format(newest)}</span>
      </figcaption>
      <div ref={host} role="img" aria-label={`${title}: ${format(newest)} (${steps.length})`} />
    </figure>
  );
}
