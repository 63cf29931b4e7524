import { useComputedColorScheme } from "@mantine/core";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { moved, onWheel, zoomed } from "./range";

export type Points = { mean: (number | null)[]; min: (number | null)[]; max: (number | null)[] };
export type Range = { min: number; max: number };

/** Where a chart's points come from; asked at most once a frame. */
export type Source = {
  data: () => { steps: number[]; points: (name: string) => Points };
  extent: () => Range | null;
  range: Range | null;
  onFrame: (listener: () => void) => () => void;
  look: (range: Range | null) => void;
};

export type Line = {
  name: string;
  label: string;
  /** Told now and then only: its points are marked, and joined over the steps between them. */
  sparse?: boolean;
  /** Has no point at some steps where other lines have one: joined over them. */
  joined?: boolean;
  /** Which of the colours is its own; its place among the lines if not given. */
  place?: number;
};

/** Curves of more runs than these, over each other, cannot be told apart. */
export const MOST_RUNS = 6;
const COLOURS = ["#0b7285", "#d9480f", "#5f3dc4", "#2b8a3e", "#a61e4d", "#8c510a", "#495057"];
const COLOURS_DARK = ["#3bc9db", "#ffa94d", "#b197fc", "#69db7c", "#f783ac", "#e8b36b", "#ced4da"];
const HEIGHT = 200;
const FEW_STEPS = 60;
/** Marks of the step axis lie so far apart: there is no step between two steps. */
const WHOLE_STEPS = [...Array(9).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
const FONT = '11px "Inter Variable", system-ui, "PingFang SC", "Noto Sans CJK SC", sans-serif';

type Props = {
  title: string;
  unit?: string;
  stepLabel: string;
  lines: Line[];
  source: Source;
  format: (value: number | null) => string;
  ticks: (values: number[], step: number) => string[];
  /** How far apart marks may lie on an axis that ends at ``most``; decimal steps if not given. */
  marks?: (most: number) => number[];
  syncKey: string;
  marker?: { label: string; value: number };
  help: string;
  /** The title tells the newest value of the first line, or the highest among those of all lines; ``each`` is told to screen readers only. */
  tells?: "first" | "highest" | "each";
  height?: number;
};

/** The colour of the line at a place, also for what stands beside the chart. */
export function lineColour(place: number, dark: boolean): string {
  const colours = dark ? COLOURS_DARK : COLOURS;
  return colours[place % colours.length] ?? "";
}

/** A chart over steps: means as lines, least and greatest as a band. Cursors and ranges of one page move together. */
export function TimeSeries({
  title,
  unit,
  stepLabel,
  lines,
  source,
  format,
  ticks,
  marks,
  syncKey,
  marker,
  help,
  tells = "first",
  height = HEIGHT,
}: Props) {
  const host = useRef<HTMLDivElement>(null);
  const newest = useRef<HTMLSpanElement>(null);
  const dark = useComputedColorScheme("light") === "dark";
  const shape = `${lines.map((line) => `${line.name} ${line.label} ${line.place}`).join("|")} ${marker?.label} ${marker?.value}`;

  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is built again only when its shape or colours change
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const options = plotOptions({
      title,
      unit,
      stepLabel,
      lines,
      source,
      format,
      ticks,
      marks,
      syncKey,
      marker,
      dark,
    });
    const plot = new uPlot({ ...options, width: element.clientWidth || 400, height }, [[]], element);
    let inSight = true;
    const draw = () => {
      if (!inSight) return;
      const values = show(plot, source, lines, marker);
      const words = newestWords(values, lines, format, tells);
      if (newest.current) newest.current.textContent = tells === "each" ? "" : words;
      element.setAttribute("aria-label", `${title}: ${words}. ${help}`);
    };
    draw();
    const stop = source.onFrame(draw);
    const stopWheel = onWheel(
      plot.over,
      () => ({ range: source.range, extent: source.extent() }),
      source.look,
    );
    const sight = new IntersectionObserver((entries) => {
      inSight = entries.some((entry) => entry.isIntersecting);
      draw();
    });
    sight.observe(element);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    return () => {
      stop();
      stopWheel();
      sight.disconnect();
      observer.disconnect();
      plot.destroy();
    };
  }, [shape, dark, syncKey, source, title]);

  return (
    <figure className="card chart">
      <figcaption>
        {title} {unit && <span className="muted">({unit})</span>} <span ref={newest} className="muted" />
      </figcaption>
      {/* biome-ignore lint/a11y/useSemanticElements: a figure that is explored by keys */}
      <div
        ref={host}
        role="group"
        aria-roledescription="chart"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: keys zoom and move it
        tabIndex={0}
        onKeyDown={(event) => {
          const range = byKey(event.key, source);
          if (range === undefined) return;
          event.preventDefault();
          source.look(range);
        }}
      />
    </figure>
  );
}

function newestWords(
  values: (number | null)[],
  lines: Line[],
  format: Props["format"],
  tells: NonNullable<Props["tells"]>,
): string {
  if (tells === "each")
    return lines.map(({ label }, index) => `${label} ${format(values[index] ?? null)}`).join(", ");
  const known = values.filter((value) => value !== null);
  return format(tells === "first" || known.length === 0 ? (values[0] ?? null) : Math.max(...known));
}

/** The range that a key asks for: + and - zoom, arrows move, 0 and Escape show all; undefined for other keys. */
function byKey(key: string, source: Source): Range | null | undefined {
  const extent = source.extent();
  if (!extent) return undefined;
  const now = source.range ?? extent;
  switch (key) {
    case "+":
    case "=":
      return zoomed(now, extent, 0.5);
    case "-":
      return zoomed(now, extent, 2);
    case "ArrowLeft":
      return moved(now, extent, -0.25);
    case "ArrowRight":
      return moved(now, extent, 0.25);
    case "0":
    case "Home":
    case "Escape":
      return null;
    default:
      return undefined;
  }
}

/** Hand the newest points to the plot; returns the last value of each line. */
function show(plot: uPlot, source: Source, lines: Line[], marker: Props["marker"]): (number | null)[] {
  const drawn = source.data();
  const { steps } = drawn;
  const columns = lines.map((line) => drawn.points(line.name));
  const data = [
    steps,
    ...columns.flatMap((column) => [column.mean, column.max, column.min]),
    ...(marker ? [steps.map(() => marker.value)] : []),
  ] as uPlot.AlignedData;
  const extent = source.range ?? source.extent() ?? { min: 0, max: 1 };
  plot.batch(() => {
    plot.setData(data, false);
    plot.setScale("x", extent.min === extent.max ? { min: extent.min - 1, max: extent.max + 1 } : extent);
  });
  return columns.map((column) => column.mean.findLast((value) => value !== null) ?? null);
}

/** uPlot's own range, but for values that are all 0, for which that ends at 100. */
function heightOf(_plot: uPlot, least: number | null, most: number | null): uPlot.Range.MinMax {
  if (least === null || most === null) return [null, null];
  return least === 0 && most === 0 ? [0, 1] : uPlot.rangeNum(least, most, 0.1, true);
}

type Look = Omit<Props, "help" | "tells" | "height"> & { dark: boolean };

function plotOptions(look: Look): Omit<uPlot.Options, "width" | "height"> {
  const { unit, stepLabel, lines, source, format, ticks, marks, syncKey, marker, dark } = look;
  const grid = { stroke: dark ? "#33373b" : "#e9ecef", width: 1 };
  const axis = { stroke: dark ? "#a5adb5" : "#586069", grid, ticks: grid, font: FONT };
  const named = { labelSize: 18, labelFont: FONT };
  const value = (_plot: uPlot, of: number | null) => format(of);
  const edge = { stroke: "transparent", width: 0, points: { show: false }, class: "band" };
  const marked = { stroke: dark ? "#ff8787" : "#c92a2a", dash: [6, 4], points: { show: false }, value };
  return {
    cursor: { sync: { key: syncKey, setSeries: false }, drag: { x: true, y: false, setScale: false } },
    scales: { x: { time: false }, y: { range: heightOf } },
    axes: [
      { ...axis, ...named, label: stepLabel, size: 34, incrs: WHOLE_STEPS },
      {
        ...axis,
        ...(unit ? { ...named, label: unit } : {}),
        ...(marks
          ? { incrs: (_plot: uPlot, _axis: number, _least: number, most: number) => marks(most) }
          : {}),
        size: 74,
        values: (_plot, at, _axis, _space, step) => ticks(at, step),
      },
    ],
    series: [
      { label: stepLabel, value: (_plot, step: number | null) => step?.toLocaleString("en-US") ?? "–" },
      ...lines.flatMap((line, index) => [
        {
          label: line.label,
          stroke: lineColour(line.place ?? index, dark),
          width: 1.6,
          points: line.sparse
            ? { show: true, size: 7 }
            : { show: (plot: uPlot) => plot.data[0].length < FEW_STEPS, size: 4 },
          spanGaps: line.sparse || line.joined,
          value,
        },
        { ...edge, label: `${line.label} ↑` },
        { ...edge, label: `${line.label} ↓` },
      ]),
      ...(marker ? [{ ...marked, label: marker.label }] : []),
    ],
    bands: lines.map((line, index) => ({
      series: [3 * index + 2, 3 * index + 3] as uPlot.Band.Bounds,
      fill: `${lineColour(line.place ?? index, dark)}33`,
    })),
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width } = plot.select;
          if (width < 4) return;
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          source.look({ min: plot.posToVal(left, "x"), max: plot.posToVal(left + width, "x") });
        },
      ],
      ready: [(plot) => plot.over.addEventListener("dblclick", () => source.look(null))],
    },
  };
}
