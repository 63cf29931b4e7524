import { Alert, Skeleton, Stack, Tabs } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconHourglass } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Navigate, useParams } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { ApiProblem, call, isRefused } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { NoWorker, toldByNoWorker } from "../../ui/NoWorker";
import { Problem } from "../../ui/Problem";
import { useUrlState } from "../../ui/urlState";
import { Answers, asksForAnswers } from "./Answers";
import { Charts } from "./Charts";
import { Chat } from "./Chat";
import { EarlierAttempts } from "./EarlierAttempts";
import { Failure } from "./Failure";
import { Files } from "./Files";
import { Header } from "./Header";
import { Log } from "./Log";
import { Memory } from "./Memory";
import { MemoryWarnings } from "./MemoryWarnings";
import { NoSuchJob } from "./NoSuchJob";
import { Notes } from "./Notes";
import { Spec } from "./Spec";
import { useLive } from "./useLive";

const TABS = ["charts", "memory", "chat", "answers", "log", "spec", "files"] as const;
const REFRESH_MILLISECONDS = 2000;
/** Somebody else, or another window, may run an ended job again, or delete it. */
const ENDED_MILLISECONDS = 10_000;

export default function JobPage() {
  const { t, i18n } = useTranslation("job");
  const said = useSaid();
  const language = i18n.language === "en" ? "en" : "zh";
  const { id } = useParams({ from: "/shell/jobs/$id" });
  const [{ tab }, change] = useUrlState();
  const job = useQuery({
    queryKey: ["job", id],
    queryFn: () => call<Job>("GET", `/jobs/${encodeURIComponent(id)}?language=${language}`),
    refetchInterval: ({ state }) => {
      if (isRefused(state.error)) return false;
      return state.data && TERMINAL.has(state.data.state) ? ENDED_MILLISECONDS : REFRESH_MILLISECONDS;
    },
  });
  const gone = job.error instanceof ApiProblem && job.error.status === 404;
  const live = useLive(id, !gone, job.data?.attempt ?? 0);
  useDocumentTitle(job.data ? `${job.data.name} · Tunescope` : "Tunescope");
  if (gone) return <NoSuchJob id={id} />;
  if (!job.data)
    return job.error ? (
      <Problem error={job.error} retry={job.refetch} />
    ) : (
      <Skeleton height={420} radius={12} />
    );
  // Chats and merges have no pages of their own: they are among what can be done with their job.
  const { chat, merge } = job.data;
  if (chat)
    return (
      <Navigate
        to="/jobs/$id"
        params={{ id: chat.result_of }}
        search={{ tab: "chat", chat: id } as never}
        replace
      />
    );
  if (merge)
    return (
      <Navigate to="/jobs/$id" params={{ id: merge.result_of }} search={{ tab: "files" } as never} replace />
    );
  const tabs = TABS.filter((name) => name !== "answers" || asksForAnswers(job.data));
  return (
    <Stack>
      <Header job={job.data} live={live} />
      {job.data.failure && <Failure failure={job.data.failure} live={live} jobId={id} />}
      {!TERMINAL.has(job.data.state) && <NoWorker />}
      {job.data.waiting_because && !toldByNoWorker(job.data) && (
        <Alert color="yellow" icon={<IconHourglass size={18} aria-hidden />} title={t("waits")} role="status">
          {said(job.data.waiting_because, job.data.waiting_sentence)}
        </Alert>
      )}
      <Notes job={job.data} />
      <EarlierAttempts job={job.data} />
      <MemoryWarnings job={job.data} />
      <Tabs
        value={tabs.find((name) => name === tab) ?? "charts"}
        onChange={(chosen) => change({ tab: chosen === "charts" ? undefined : (chosen ?? undefined) })}
        keepMounted={false}
      >
        <Tabs.List mb="md" style={{ flexWrap: "nowrap", overflowX: "auto" }}>
          {tabs.map((name) => (
            <Tabs.Tab key={name} value={name}>
              {t(name)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="charts">
          <Charts live={live} job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="memory">
          <Memory job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="chat">
          <Chat job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="answers">
          <Answers job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="log">
          <Log live={live} />
        </Tabs.Panel>
        <Tabs.Panel value="spec">
          <Spec job={job.data} />
        </Tabs.Panel>
        <Tabs.Panel value="files">
          <Files job={job.data} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}
