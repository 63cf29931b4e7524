import { Group, Table, Text } from "@mantine/core";
import { type PointerEvent, type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { formatBytes } from "../units";
import {
  type AnatomyPoint,
  type Band,
  bandsOf,
  edgesOf,
  indexOfPeak,
  layersOf,
  peaksByPhase,
  ticksUpTo,
  totalOf,
} from "./anatomy";
import { colourOf, stackOrder } from "./categories";

export type { AnatomyPoint } from "./anatomy";

const HEIGHT = 260;
const MARGIN = { left: 66, right: 8, top: 24, bottom: 8 };
const INK = "light-dark(#586069, #a5adb5)";
const GRID = "light-dark(#e3e6e8, #33373b)";

/** A level to draw across the chart, such as what a GPU has or what the allocator keeps. */
export type Mark = { label: string; bytes: number };

type Props = { title: ReactNode; points: AnatomyPoint[]; marks?: Mark[] };

/**
 * The memory of one training step: a layer for each category over the step, its phases shaded.
 * The slider (or the pointer) chooses a moment, whose bytes the legend tells; a table holds each phase's peak.
 */
export function StepAnatomy({ title, points, marks = [] }: Props) {
  const { t } = useTranslation(["anatomy", "charts"]);
  const peak = useMemo(() => indexOfPeak(points), [points]);
  const [chosen, setChosen] = useState<number>();
  const index = Math.min(chosen ?? peak, points.length - 1);
  const moment = points[index];
  const categories = useMemo(() => stackOrder(points.map((point) => point.bytes_by_category)), [points]);
  if (!moment) return null;
  const told = `${t(moment.phase)}: ${formatBytes(totalOf(moment))}`;
  return (
    <figure style={{ margin: 0 }}>
      <figcaption style={{ fontWeight: 600, marginBottom: 4 }}>{title}</figcaption>
      <Plot points={points} categories={categories} marks={marks} index={index} choose={setChosen} />
      <div style={{ paddingLeft: MARGIN.left, paddingRight: MARGIN.right }}>
        <input
          type="range"
          min={0}
          max={points.length - 1}
          value={index}
          onChange={(event) => setChosen(Number(event.currentTarget.value))}
          aria-label={t("moment")}
          aria-valuetext={told}
          style={{ width: "100%", margin: 0, accentColor: "var(--accent)" }}
        />
      </div>
      <Text fw={600} mt={4} size="sm">
        {told}
        {index === peak && <span className="muted"> · {t("peak")}</span>}
      </Text>
      <Legend categories={categories} ledger={moment.bytes_by_category} />
      <PeakTable points={points} categories={categories} />
    </figure>
  );
}

type PlotProps = {
  points: AnatomyPoint[];
  categories: string[];
  marks: Mark[];
  index: number;
  choose: (index: number) => void;
};

function Plot({ points, categories, marks, index, choose }: PlotProps) {
  const { t } = useTranslation("anatomy");
  const { host, width } = useWidth();
  const inner = Math.max(40, width - MARGIN.left - MARGIN.right);
  const highest = Math.max(...points.map(totalOf), ...marks.map((mark) => mark.bytes), 1) * 1.04;
  const edges = useMemo(() => edgesOf(points), [points]);
  const bands = useMemo(() => bandsOf(points, edges), [points, edges]);
  const x = (share: number) => MARGIN.left + share * inner;
  const y = (bytes: number) =>
    HEIGHT - MARGIN.bottom - (bytes / highest) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  // biome-ignore lint/correctness/useExhaustiveDependencies: x and y depend on nothing else
  const layers = useMemo(
    () => layersOf(points, categories, (point) => x(edges[point] ?? 1), y),
    [points, categories, edges, inner, highest],
  );
  const follow = (event: PointerEvent<SVGSVGElement>) => {
    const share = (event.clientX - event.currentTarget.getBoundingClientRect().left - MARGIN.left) / inner;
    const next = edges.findIndex((edge) => edge > share);
    choose(Math.max(0, Math.min(points.length - 1, next === -1 ? points.length - 1 : next - 1)));
  };
  const middle = x(((edges[index] ?? 0) + (edges[index + 1] ?? 1)) / 2);
  return (
    <div ref={host} style={{ overflow: "hidden" }}>
      <svg
        role="img"
        aria-label={t("summary", {
          phases: peaksByPhase(points)
            .map((item) => `${t(item.phase)} ${formatBytes(item.bytes)}`)
            .join(", "),
        })}
        width={width}
        height={HEIGHT}
        style={{ display: "block", touchAction: "pan-y" }}
        onPointerMove={follow}
      >
        <Bands bands={bands} x={x} inner={inner} />
        {ticksUpTo(highest).map((bytes) => (
          <g key={bytes}>
            <line x1={MARGIN.left} x2={MARGIN.left + inner} y1={y(bytes)} y2={y(bytes)} stroke={GRID} />
            <text x={MARGIN.left - 6} y={y(bytes) + 4} textAnchor="end" fontSize={11} fill={INK}>
              {bytes === 0 ? "0" : formatBytes(bytes)}
            </text>
          </g>
        ))}
        {layers.map((layer) => (
          <path key={layer.category} d={layer.path} fill={colourOf(layer.category)} fillOpacity={0.88} />
        ))}
        <BandLabels bands={bands} x={x} inner={inner} />
        {marks.map((mark) => (
          <MarkLine key={mark.label} mark={mark} y={y(mark.bytes)} inner={inner} />
        ))}
        <line
          x1={middle}
          x2={middle}
          y1={MARGIN.top}
          y2={HEIGHT - MARGIN.bottom}
          stroke="light-dark(#212529, #f1f3f5)"
          strokeDasharray="2 3"
        />
      </svg>
    </div>
  );
}

function Bands({ bands, x, inner }: { bands: Band[]; x: (share: number) => number; inner: number }) {
  return bands.map((band, number) => (
    <rect
      key={band.from}
      x={x(band.from)}
      width={(band.to - band.from) * inner}
      y={MARGIN.top}
      height={HEIGHT - MARGIN.top - MARGIN.bottom}
      fill={number % 2 ? "transparent" : "light-dark(#f1f3f5, #25282b)"}
    />
  ));
}

/** Each band's phase above it, or, where that is too narrow, upright within it; slivers are named by slider and table. */
function BandLabels({ bands, x, inner }: { bands: Band[]; x: (share: number) => number; inner: number }) {
  const { t } = useTranslation("anatomy");
  return bands.map((band) => {
    const label = t(band.phase);
    // Roughly 6 px a Latin letter and 12 px a Chinese one at this size.
    const needed = [...label].reduce((sum, letter) => sum + (letter.charCodeAt(0) > 0x2e80 ? 12 : 6.2), 6);
    const width = (band.to - band.from) * inner;
    const middle = x((band.from + band.to) / 2);
    if (needed < width)
      return (
        <text key={band.from} x={middle} y={MARGIN.top - 8} textAnchor="middle" fontSize={11} fill={INK}>
          {label}
        </text>
      );
    if (width < 12) return null;
    return (
      <text
        key={band.from}
        transform={`translate(${middle + 4} ${MARGIN.top + 24}) rotate(-90)`}
        textAnchor="end"
        fontSize={11}
        fill={INK}
      >
        {label}
      </text>
    );
  });
}

function MarkLine({ mark, y, inner }: { mark: Mark; y: number; inner: number }) {
  const red = "light-dark(#c92a2a, #ff8787)";
  return (
    <g>
      <line x1={MARGIN.left} x2={MARGIN.left + inner} y1={y} y2={y} stroke={red} strokeDasharray="6 4" />
      <text
        x={MARGIN.left + inner - 4}
        y={y + 13}
        textAnchor="end"
        fontSize={11}
        fill={red}
        stroke="light-dark(#fff, #1d1f21)"
        strokeWidth={3}
        paintOrder="stroke"
      >
        {mark.label} {formatBytes(mark.bytes)}
      </text>
    </g>
  );
}

function Legend({ categories, ledger }: { categories: string[]; ledger: Record<string, number> }) {
  const { t } = useTranslation("charts");
  return (
    <Group gap="md" mt={4}>
      {categories.map((category) => (
        <Group key={category} gap={6} wrap="nowrap">
          <span
            aria-hidden
            style={{ width: 10, height: 10, borderRadius: 3, background: colourOf(category) }}
          />
          <Text size="sm">
            {t(category)} <span className="muted">{formatBytes(ledger[category] ?? 0)}</span>
          </Text>
        </Group>
      ))}
    </Group>
  );
}

function PeakTable({ points, categories }: { points: AnatomyPoint[]; categories: string[] }) {
  const { t } = useTranslation(["anatomy", "charts"]);
  const peaks = peaksByPhase(points);
  return (
    <details style={{ marginTop: 8 }}>
      <summary>{t("table")}</summary>
      <Table.ScrollContainer
        minWidth={140 + 110 * peaks.length}
        scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}
      >
        <Table fz="sm" aria-label={t("table")}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t("category")}</Table.Th>
              {peaks.map((item) => (
                <Table.Th key={item.phase} ta="right">
                  {t(item.phase)}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {categories.map((category) => (
              <Table.Tr key={category}>
                <Table.Th scope="row" fw={400}>
                  {t(category, { ns: "charts" })}
                </Table.Th>
                {peaks.map((item) => (
                  <Table.Td key={item.phase} ta="right">
                    {formatBytes(item.ledger[category] ?? 0)}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
            <Table.Tr fw={650}>
              <Table.Th scope="row">{t("total")}</Table.Th>
              {peaks.map((item) => (
                <Table.Td key={item.phase} ta="right">
                  {formatBytes(item.bytes)}
                </Table.Td>
              ))}
            </Table.Tr>
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </details>
  );
}

function useWidth() {
  const host = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(400);
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return { host, width };
}
