import { Button, Group, Skeleton, Stack } from "@mantine/core";
import { IconChartLine, IconPlayerPlay, IconPlus, IconRocket, IconSearchOff } from "@tabler/icons-react";
import { useInfiniteQuery, useMutation } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { answer, api, call } from "../../api/client";
import type { Job } from "../../api/types";
import { DEMO_SPEC } from "../../spec/demo";
import { Empty } from "../../ui/Empty";
import { NoWorker } from "../../ui/NoWorker";
import { PageHead } from "../../ui/PageHead";
import { Problem } from "../../ui/Problem";
import { useUrlState } from "../../ui/urlState";
import { FILTERS, Filters } from "./Filters";
import { JobList } from "./JobList";
import { MemoryNow } from "./MemoryNow";
import { TickedBar } from "./TickedBar";
import { lossesOf, useTicked } from "./ticked";

const PAGE = 50;
const REFRESH_MILLISECONDS = 2000;

export default function JobsPage() {
  const { t } = useTranslation("jobs");
  const [wanted] = useUrlState();
  const jobs = useJobs(wanted.show, wanted.owner, wanted.q);
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  // Those that a filter hides by now stay ticked: the two to compare need not be found by one search.
  const ticked = useTicked(items);
  const unfiltered = !wanted.show && !wanted.owner && !wanted.q;
  const none = jobs.data && items.length === 0;
  return (
    <>
      <PageHead title={t("jobs")} about={t("about")}>
        {items.length > 0 && <TryDemo variant="default" />}
        {items.length > 1 && (
          <Button
            component={Link}
            to="/losses"
            search={lossesOf(ticked.ids) as never}
            variant="default"
            leftSection={<IconChartLine size={16} aria-hidden />}
          >
            {t("compareLosses")}
          </Button>
        )}
        <Button component={Link} to="/new" leftSection={<IconPlus size={16} aria-hidden />}>
          {t("newJob")}
        </Button>
      </PageHead>
      <Stack>
        <NoWorker />
        <MemoryNow />
        {!(none && unfiltered) && <Filters owners={items.map((job) => job.owner.username)} />}
        {jobs.error && <Problem error={jobs.error} retry={jobs.refetch} />}
        {jobs.isPending && <Skeleton height={260} radius={12} />}
        {none && unfiltered && (
          <Empty icon={<IconRocket size={26} />} title={t("empty")} about={t("emptyAbout")}>
            <TryDemo variant="filled" />
            <Button component={Link} to="/datasets" variant="default">
              {t("uploadData")}
            </Button>
          </Empty>
        )}
        {none && !unfiltered && (
          <Empty icon={<IconSearchOff size={26} />} title={t("noneFound")} about={t("noneFoundAbout")}>
            <Button component={Link} to="/" variant="default">
              {t("showAll")}
            </Button>
          </Empty>
        )}
        {items.length > 0 && <JobList jobs={items} ticked={ticked.ids} tick={ticked.tick} />}
        {jobs.hasNextPage && (
          <Group justify="center">
            <Button
              variant="default"
              loading={jobs.isFetchingNextPage}
              onClick={() => void jobs.fetchNextPage()}
            >
              {t("older")}
            </Button>
          </Group>
        )}
        {ticked.ids.length > 0 && <TickedBar {...ticked} />}
      </Stack>
    </>
  );
}

function useJobs(show?: string, owner?: string, q?: string) {
  const query = { state: FILTERS[show ?? "all"] || undefined, owner, q, limit: PAGE };
  return useInfiniteQuery({
    queryKey: ["jobs", query],
    queryFn: ({ pageParam }) =>
      answer(api.GET("/api/jobs", { params: { query: { ...query, cursor: pageParam } } })) as Promise<{
        items: Job[];
        next_cursor: string | null;
      }>,
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: REFRESH_MILLISECONDS,
    placeholderData: (before) => before,
  });
}

/** One click to a real QLoRA run. */
function TryDemo({ variant }: { variant: "filled" | "default" }) {
  const { t } = useTranslation("jobs");
  const navigate = useNavigate();
  const demo = useMutation({
    mutationFn: () => call<Job>("POST", "/jobs", DEMO_SPEC),
    onSuccess: (job) => navigate({ to: "/jobs/$id", params: { id: job.id } }),
  });
  return (
    <>
      <Button
        variant={variant}
        leftSection={<IconPlayerPlay size={16} aria-hidden />}
        loading={demo.isPending}
        onClick={() => demo.mutate()}
      >
        {t("tryDemo")}
      </Button>
      {demo.error && <Problem error={demo.error} />}
    </>
  );
}
