import { Alert, Badge, Button, Collapse, Group, Skeleton, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconTarget } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import type { AccuracyItem, Calibration } from "../../api/types";
import { Comparison } from "../../charts/Comparison";
import { Empty } from "../../ui/Empty";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { formatBytes, formatDate, formatPercent } from "../../units";

const PAGE = 50;

/** Every finished job that was measured: how far its prediction was off, category by category. */
export default function AccuracyPage() {
  const { t } = useTranslation("accuracy");
  const runs = useInfiniteQuery({
    queryKey: ["accuracy"],
    queryFn: ({ pageParam }) =>
      answer(api.GET("/api/accuracy", { params: { query: { cursor: pageParam, limit: PAGE } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
  const first = runs.data?.pages[0];
  const items = runs.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <PageHead title={t("title")} about={t("about")} />
      <Stack>
        {runs.error && <Problem error={runs.error} retry={runs.refetch} />}
        {runs.isPending && <Skeleton height={240} radius={12} />}
        {first && items.length === 0 && (
          <Empty icon={<IconTarget size={26} />} title={t("empty")} about={t("emptyAbout")}>
            <Button component={Link} to="/new">
              {t("newJob")}
            </Button>
          </Empty>
        )}
        {first && items.length > 0 && (
          <>
            <Calibrations items={first.calibrations} />
            {items.map((item) => (
              <Run key={item.job} item={item} />
            ))}
            <Text size="sm" className="muted">
              {t("note")}
            </Text>
          </>
        )}
        {runs.hasNextPage && (
          <Button
            variant="default"
            loading={runs.isFetchingNextPage}
            onClick={() => void runs.fetchNextPage()}
          >
            {t("older")}
          </Button>
        )}
      </Stack>
    </>
  );
}

function Calibrations({ items }: { items: Calibration[] }) {
  const { t } = useTranslation("accuracy");
  if (items.length === 0) return <Alert color="gray">{t("uncalibrated")}</Alert>;
  return items.map((item) => (
    <Alert key={item.device} color="teal" title={item.device}>
      {t("calibrated", {
        runs: item.runs,
        context: formatBytes(item.context_bytes),
        share: item.fragmentation_share[1]?.toFixed(2),
      })}
    </Alert>
  ));
}

function Run({ item }: { item: AccuracyItem }) {
  const { t } = useTranslation("accuracy");
  const [open, { toggle }] = useDisclosure();
  const facts = item.summary as Record<string, string | number | boolean | null>;
  const recipe = [facts.model, facts.method, facts.quantization, t("tokens", { count: facts.max_length })];
  return (
    <section className="card">
      <Group justify="space-between" align="flex-start">
        <div>
          <Text fw={600} component={Link} to={`/jobs/${item.job}?tab=memory`} c="inherit">
            {item.name}
          </Text>
          <Text size="sm" className="muted">
            {recipe.join(" · ")}
          </Text>
          <Text size="sm" className="muted">
            {item.device} · {formatDate(item.at)}
          </Text>
        </div>
        <Group gap="md">
          <Text size="sm">
            {t("figures", {
              predicted: formatBytes(item.predicted_bytes),
              measured: formatBytes(item.measured_bytes),
            })}
          </Text>
          {item.error_percent !== null && (
            <Badge
              variant="light"
              size="lg"
              tt="none"
              color={Math.abs(item.error_percent) <= 3 ? "teal" : "yellow"}
            >
              {formatPercent(item.error_percent)}
            </Badge>
          )}
          <Button size="xs" variant="default" onClick={toggle} aria-expanded={open}>
            {t("byCategory")}
          </Button>
        </Group>
      </Group>
      {!item.on_gpu && (
        <Text size="xs" className="muted" mt={4}>
          {t("onCpu")}
        </Text>
      )}
      <Collapse in={open} mt="sm">
        {open && <Comparison rows={item.comparison} />}
      </Collapse>
    </section>
  );
}
