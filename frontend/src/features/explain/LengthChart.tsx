import { Group, Table, Text, Title } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useTranslation } from "react-i18next";
import type { Explanation } from "../../api/types";
import { listed } from "../../i18n/list";
import { bytesMarks, bytesTicks, formatBytes } from "../../units";
import type { Published } from "./sides";

const HEIGHT = 280;
const INSET = { left: 62, right: 16, top: 14, bottom: 34 };
const TICKS = 5;

type Props = { explanation: Explanation; a: Published[]; b: Published[] };
type Point = { tokens: number; bytes: number };

/** Both predictions over the sequence length as lines, published measurements as dots: where it turns round is seen. */
export function LengthChart({ explanation, a, b }: Props) {
  const { t } = useTranslation("explain");
  const { ref, width } = useElementSize();
  const points = explanation.by_length;
  if (points.length < 2) return null;
  const lengths = points.map((point) => point.tokens);
  const dots = [a, b].map((rows) => rows.filter((row) => lengths.includes(row.tokens)));
  const measured = measuredTurn(a, b);
  const always = alwaysLess(points);
  const highest = Math.max(
    ...points.flatMap((point) => [point.a_bytes, point.b_bytes]),
    ...dots.flat().map((row) => row.bytes_per_gpu),
  );
  const step = bytesMarks(highest).find((mark) => mark >= highest / TICKS) ?? highest;
  const top = Math.ceil(highest / step) * step;
  const [first = 1, last = 2] = [lengths[0], lengths.at(-1)];
  const x = (tokens: number) =>
    INSET.left + (Math.log2(tokens / first) / Math.log2(last / first)) * (width - INSET.left - INSET.right);
  const marks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
  const names = bytesTicks(marks, step);
  const y = (bytes: number) => INSET.top + (1 - bytes / top) * (HEIGHT - INSET.top - INSET.bottom);
  const line = (of: (point: (typeof points)[number]) => number) =>
    points.map((point) => `${x(point.tokens)},${y(of(point))}`).join(" ");
  return (
    <section className="card">
      <Title order={2}>{t("byLength")}</Title>
      <Text className="muted" size="sm" mb="sm">
        {explanation.turning || (always && t("alwaysLess", { letter: always }))}{" "}
        {measured && t("measuredTurn", measured)}
      </Text>
      <Legend dots={dots} />
      <div ref={ref}>
        {width > 0 && (
          <svg
            width={width}
            height={HEIGHT}
            role="img"
            aria-label={`${t("byLength")}. ${explanation.turning}`}
            className="plot"
          >
            {marks.map((bytes, index) => (
              <g key={bytes}>
                <line x1={INSET.left} x2={width - INSET.right} y1={y(bytes)} y2={y(bytes)} className="grid" />
                <text x={INSET.left - 8} y={y(bytes) + 4} textAnchor="end">
                  {names[index]}
                </text>
              </g>
            ))}
            {lengths.map((tokens) => (
              <text key={tokens} x={x(tokens)} y={HEIGHT - 12} textAnchor="middle">
                {tokens}
              </text>
            ))}
            <polyline points={line((point) => point.a_bytes)} className="line side-a" />
            <polyline points={line((point) => point.b_bytes)} className="line side-b" />
            {dots.map((rows, index) =>
              rows.map((row) => (
                <circle
                  key={row.id}
                  cx={x(row.tokens)}
                  cy={y(row.bytes_per_gpu)}
                  r={5}
                  className={index === 0 ? "dot side-a" : "dot side-b"}
                >
                  <title>{`${row.printed} · ${row.source}`}</title>
                </circle>
              )),
            )}
          </svg>
        )}
      </div>
      <details>
        <summary>{t("asTable")}</summary>
        <Figures points={points} dots={dots} />
      </details>
    </section>
  );
}

function Legend({ dots }: { dots: Published[][] }) {
  const { t } = useTranslation("explain");
  const torchs = ["A", "B"].filter((_, index) => dots[index]?.some((row) => !row.counts_context));
  return (
    <Group gap="lg" mb={4}>
      {(["a", "b"] as const).map((name) => (
        <Group key={name} gap={6}>
          <span className={`swatch side-${name}`} aria-hidden />
          <Text size="sm">{t("predictedSide", { letter: name.toUpperCase() })}</Text>
        </Group>
      ))}
      {dots.flat().length > 0 && (
        <Text size="sm" className="muted">
          {t("dotsArePublished")} {torchs.length > 0 && t("dotsWithoutContext", { letters: listed(torchs) })}
        </Text>
      )}
    </Group>
  );
}

function Figures({ points, dots }: { points: Explanation["by_length"]; dots: Published[][] }) {
  const { t } = useTranslation("explain");
  const published = (index: number, tokens: number) =>
    dots[index]?.find((row) => row.tokens === tokens)?.printed ?? "–";
  const rows: (Point & { b: number })[] = points.map((point) => ({
    tokens: point.tokens,
    bytes: point.a_bytes,
    b: point.b_bytes,
  }));
  return (
    <Table.ScrollContainer minWidth={460} scrollAreaProps={{ viewportProps: { tabIndex: 0 } }}>
      <Table mt="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t("tokens")}</Table.Th>
            <Table.Th>A</Table.Th>
            <Table.Th>{t("publishedOf", { letter: "A" })}</Table.Th>
            <Table.Th>B</Table.Th>
            <Table.Th>{t("publishedOf", { letter: "B" })}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={row.tokens}>
              <Table.Td>{row.tokens}</Table.Td>
              <Table.Td>{formatBytes(row.bytes)}</Table.Td>
              <Table.Td>{published(0, row.tokens)}</Table.Td>
              <Table.Td>{formatBytes(row.b)}</Table.Td>
              <Table.Td>{published(1, row.tokens)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** The side that needs less at every length, if one does. */
function alwaysLess(points: Explanation["by_length"]): "A" | "B" | undefined {
  if (points.every((point) => point.b_bytes < point.a_bytes)) return "B";
  return points.every((point) => point.a_bytes < point.b_bytes) ? "A" : undefined;
}

/** Where published measurements of both sides turn round: the last length before, the first after, and who needs less. */
function measuredTurn(a: Published[], b: Published[]) {
  const both = a.flatMap((row) => {
    const other = b.find((item) => item.tokens === row.tokens);
    return other ? [{ tokens: row.tokens, less: other.bytes_per_gpu < row.bytes_per_gpu ? "B" : "A" }] : [];
  });
  const turn = both.findIndex((point, index) => index > 0 && point.less !== both[index - 1]?.less);
  const [before, after] = [both[turn - 1], both[turn]];
  return before && after
    ? { before: before.tokens, first: before.less, after: after.tokens, second: after.less }
    : undefined;
}
