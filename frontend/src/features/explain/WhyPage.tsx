import { Button, Group, SimpleGrid, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconChartLine, IconLink } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ApiProblem, call } from "../../api/client";
import type { Explanation } from "../../api/types";
import { Waterfall } from "../../charts/Waterfall";
import { useRecipes } from "../../spec/recipes";
import { Copy } from "../../ui/Copy";
import { useLastAnswer } from "../../ui/lastAnswer";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useUrlState } from "../../ui/urlState";
import { formatBytes } from "../../units";
import { LengthChart } from "./LengthChart";
import { SideCard } from "./SideCard";
import {
  addressOf,
  type Pair,
  type Published,
  pairOf,
  publishedFor,
  QUESTIONS,
  samePair,
  sameSides,
} from "./sides";

const SETTLE_MILLISECONDS = 200;
const NAMES = ["a", "b"] as const;

export default function WhyPage() {
  const { t, i18n } = useTranslation("explain");
  const [address, change] = useUrlState();
  const pair = pairOf(address);
  const show = (wanted: Pair) => change(addressOf(wanted));
  const [settled] = useDebouncedValue(pair, SETTLE_MILLISECONDS);
  const language = i18n.language === "en" ? "en" : "zh";
  const asked = useQuery({
    queryKey: ["explanation", settled, language],
    queryFn: () => call<Explanation>("POST", "/explanations", { ...settled, language }),
    retry: false,
  });
  const explanation = useLastAnswer(asked);
  const published = useQuery({
    queryKey: ["published"],
    queryFn: () => call<{ items: Published[] }>("GET", "/published"),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const rows = published.data?.items ?? [];
  const found = explanation.data;
  const gone = isGone(explanation.error);
  const scale = found && Math.max(found.a.total_bytes, found.b.total_bytes);
  return (
    <>
      <PageHead title={t("title")} about={t("about")}>
        {!gone && <Losses pair={pair} />}
        <Share />
      </PageHead>
      <Stack>
        <Questions pair={pair} show={show} />
        {Boolean(explanation.error) && !gone && <Problem error={explanation.error} />}
        {sameSides(pair) && <Text>{t("sameSides")}</Text>}
        <SimpleGrid cols={{ base: 1, md: 2 }} style={{ alignItems: "start" }}>
          {NAMES.map((name) => (
            <SideCard
              key={name}
              letter={name === "a" ? "A" : "B"}
              side={pair[name]}
              found={found?.[name]}
              scaleBytes={scale}
              published={publishedFor(pair[name], rows)}
              error={explanation.error}
              change={(side) => show({ ...pair, [name]: side })}
            />
          ))}
        </SimpleGrid>
        {!found && !explanation.error && <Skeleton height={320} radius={12} />}
        {found && <Answer explanation={found} />}
        {found && (
          <LengthChart explanation={found} a={publishedFor(pair.a, rows)} b={publishedFor(pair.b, rows)} />
        )}
      </Stack>
    </>
  );
}

/** Whether there is no such job: its side says so, at the field where another can be chosen. */
function isGone(error: unknown): boolean {
  return error instanceof ApiProblem && error.errors.some(({ type }) => type === "neither_recipe_nor_job");
}

function Questions({ pair, show }: { pair: Pair; show: (pair: Pair) => void }) {
  const { t } = useTranslation("explain");
  return (
    <Group gap="xs" role="group" aria-label={t("questions")}>
      {Object.entries(QUESTIONS).map(([name, question]) => (
        <Button
          key={name}
          size="xs"
          radius="xl"
          variant={samePair(pair, question) ? "filled" : "default"}
          aria-pressed={samePair(pair, question)}
          onClick={() => show(question)}
        >
          {t(`question_${name}`)}
        </Button>
      ))}
    </Group>
  );
}

function Answer({ explanation }: { explanation: Explanation }) {
  const { t } = useTranslation("explain");
  const { a, b, sections, note, turning } = explanation;
  const difference = b.total_bytes - a.total_bytes;
  const bytes = formatBytes(Math.abs(difference));
  const title = difference === 0 ? t("equal") : t(difference < 0 ? "bNeedsLess" : "bNeedsMore", { bytes });
  return (
    <section className="card" aria-live="polite">
      <Title order={2} fz="1.25rem">
        {title}
      </Title>
      <Text className="muted" mb="lg" mt={4}>
        {[note, turning].filter(Boolean).join(" ")}
      </Text>
      <Measured measured={explanation.measured} />
      <Waterfall from={a.total_bytes} to={b.total_bytes} parts={sections} />
    </section>
  );
}

/** What the two runs really differed by, and how much of that the prediction leaves open. */
function Measured({ measured }: Pick<Explanation, "measured">) {
  const { t } = useTranslation("explain");
  if (!measured) return null;
  const { difference_bytes: difference, unexplained_bytes: unexplained } = measured;
  const bytes = formatBytes(Math.abs(difference));
  return (
    <Text mb="lg">
      <b>{t("bothMeasured", { a: formatBytes(measured.a_bytes), b: formatBytes(measured.b_bytes) })}</b>{" "}
      {difference === 0 ? t("measuredEqual") : t(difference < 0 ? "measuredLess" : "measuredMore", { bytes })}{" "}
      {t("unexplained", { bytes: formatBytes(Math.abs(unexplained)) })}
    </Text>
  );
}

/** The losses of two different jobs over each other. */
function Losses({ pair: { a, b } }: { pair: Pair }) {
  const { t } = useTranslation("explain");
  const recipes = useRecipes().data?.items;
  const isJob = ({ of }: Pair["a"]) => recipes?.every(({ name }) => name !== of);
  if (a.of === b.of || !isJob(a) || !isJob(b)) return null;
  return (
    <Button
      variant="default"
      leftSection={<IconChartLine size={16} aria-hidden />}
      renderRoot={(props) => <Link {...props} to="/losses" search={{ runs: `${a.of},${b.of}` } as never} />}
    >
      {t("theirLosses")}
    </Button>
  );
}

/** The comparison is in the address, so a link is all it takes. */
function Share() {
  const { t } = useTranslation("explain");
  return (
    <Copy
      size="sm"
      value={() => window.location.href}
      label={t("share")}
      done={t("linkCopied")}
      icon={<IconLink size={16} aria-hidden />}
    />
  );
}
