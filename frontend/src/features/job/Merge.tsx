import { Alert, Button, Group, Loader, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconArrowMerge, IconPlayerStop } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { answer, api, call } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { useKeptFocus } from "../../ui/keptFocus";
import { NoWorker, toldByNoWorker } from "../../ui/NoWorker";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/server";
import { formatBytes } from "../../units";
import { LastLines } from "./LastLines";

const SHOWN_LINES = 12;
/** Before this line are all of them. */
const AFTER_ALL = 2 ** 31 - 1;
const REFRESH_MILLISECONDS = 2000;
/** Somebody else, or another window, may have it merged. */
const ENDED_MILLISECONDS = 10_000;

/** Of a job that has left an adapter: one model of both, made on request, and how far that has come. */
export function Merge({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const said = useSaid();
  const queries = useQueryClient();
  const kept = useKeptFocus();
  const me = useMe().data;
  const key = ["merge", job.id, job.state, job.attempt];
  const params = { path: { job_id: job.id } };
  const standing = useQuery({
    queryKey: key,
    queryFn: async () => {
      const found = await answer(api.GET("/api/jobs/{job_id}/merge", { params }));
      return { ...found, merge: found.merge as Job | null };
    },
    refetchInterval: ({ state: { data } }) =>
      data?.merge && !TERMINAL.has(data.merge.state) ? REFRESH_MILLISECONDS : ENDED_MILLISECONDS,
  });
  const again = () => queries.invalidateQueries({ queryKey: key });
  const start = useMutation({
    mutationFn: () => answer(api.POST("/api/jobs/{job_id}/merge", { params })),
    onSettled: again,
  });
  const end = useMutation({
    mutationFn: (merge: Job) => call<Job>("POST", `/jobs/${merge.id}/cancel`),
    onSettled: again,
  });
  const merged = standing.data?.merged;
  useEffect(() => {
    if (merged) void queries.invalidateQueries({ queryKey: ["artifacts", job.id] });
  }, [merged, job.id, queries]);
  if (standing.error) return <Problem error={standing.error} retry={standing.refetch} />;
  if (!standing.data) return null;
  const { merge, unavailable, disk_bytes: disk, memory_bytes: memory } = standing.data;
  const mine = me !== undefined && (me.role === "admin" || me.id === job.owner.id);
  const underWay = merge !== null && !TERMINAL.has(merge.state);
  const failed = !merged && merge?.failure;
  if (!merged && !underWay && !failed && !mine) return null;
  return (
    <section className="card" aria-labelledby="merge">
      <Stack gap="xs" {...kept}>
        {/* The end is not where the beginning was: a second click, made blindly, would press it. */}
        <Group justify="space-between" gap="xs">
          <Title order={2} id="merge">
            {t("oneModel")}
          </Title>
          {mine && underWay && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconPlayerStop size={14} aria-hidden />}
              loading={end.isPending || merge.state === "cancelling"}
              onClick={() => end.mutate(merge)}
            >
              {t("endMerge")}
            </Button>
          )}
        </Group>
        {merged ? (
          <Text size="sm" role="status">
            {t("mergedIsThere")}
          </Text>
        ) : (
          <Text size="sm" className="muted" maw={680}>
            {t("mergeAbout")}{" "}
            {disk !== null && t("mergeNeeds", { disk: formatBytes(disk), memory: formatBytes(memory) })}
          </Text>
        )}
        {underWay && <UnderWay merge={merge} />}
        {failed && (
          <Alert
            color="red"
            role="alert"
            icon={<IconAlertTriangle size={18} aria-hidden />}
            title={t("mergeFailed")}
          >
            <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
              {said(failed.detail_sentence?.text ?? failed.detail, failed.detail_sentence)}
            </Text>
            {failed.advice && (
              <Text mt="xs">
                <b>{t("whatNext")}</b> {said(failed.advice, failed.advice_sentence)}
              </Text>
            )}
            <EndOfLog merge={merge} />
          </Alert>
        )}
        {mine && !merged && unavailable && (
          <Text size="sm">
            {said(unavailable.detail, unavailable.detail_sentence)}{" "}
            {said(unavailable.fix ?? "", unavailable.fix_sentence)}
          </Text>
        )}
        {mine && !merged && !underWay && !unavailable && (
          <div>
            <Button
              leftSection={<IconArrowMerge size={16} aria-hidden />}
              loading={start.isPending}
              onClick={() => start.mutate()}
            >
              {t(failed ? "mergeAgain" : "merge")}
            </Button>
          </div>
        )}
        {(start.error ?? end.error) && <Problem error={start.error ?? end.error} />}
      </Stack>
    </section>
  );
}

/** The last lines of a failed merge, which has no log on the page. */
function EndOfLog({ merge }: { merge: Job }) {
  const params = { path: { job_id: merge.id }, query: { before: AFTER_ALL, limit: SHOWN_LINES } };
  const log = useQuery({
    queryKey: ["logs", merge.id, merge.attempt],
    queryFn: () => answer(api.GET("/api/jobs/{job_id}/logs", { params })),
  });
  return <LastLines lines={(log.data?.items ?? []).map(({ line }) => line)} />;
}

/** What it waits for, or what it is at. */
function UnderWay({ merge }: { merge: Job }) {
  const { t } = useTranslation("job");
  const said = useSaid();
  const { waiting_because: because, stage } = merge;
  const at = merge.state === "cancelling" ? "ending" : stage?.replaceAll(" ", "_");
  return (
    <>
      <NoWorker />
      {!toldByNoWorker(merge) && (
        <Group gap="xs" role="status" wrap="nowrap">
          <Loader size="xs" />
          <Text size="sm">
            {because
              ? `${t("waits")}: ${said(because, merge.waiting_sentence)}`
              : at
                ? t(`stage_${at}`, stage ?? "")
                : t("stage_starting")}
          </Text>
        </Group>
      )}
    </>
  );
}
