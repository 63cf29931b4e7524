import { Alert, Button, Group, Loader, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconHourglass, IconPlayerStop, IconRefresh } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { answer, api, call } from "../../api/client";
import { type ChatMessage, type Job, TERMINAL } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { NoWorker, toldByNoWorker } from "../../ui/NoWorker";
import { Problem } from "../../ui/Problem";
import { StateBadge } from "../../ui/StateBadge";
import { useMe } from "../../ui/server";
import { formatDate, formatLimit } from "../../units";
import { ChatComposer, type Draft } from "./ChatComposer";
import { ChatConversation } from "./ChatConversation";
import { ChatMemory } from "./ChatMemory";
import { LastLines } from "./LastLines";
import "./chat.css";
import { useChat } from "./useChat";

const REFRESH_MILLISECONDS = 2000;

type Props = {
  job: Job;
  chat: Job;
  startAgain?: () => void;
  /** It was begun here, a moment ago: the keyboard goes to the message. */
  begun: boolean;
};

/** One chat: how it stands, what was said, and the memory that it holds. */
export function ChatSession({ job, chat: listed, startAgain, begun }: Props) {
  const { t } = useTranslation("chat");
  const queries = useQueryClient();
  const me = useMe().data;
  const path = { job_id: listed.id };
  const chat =
    useQuery({
      queryKey: ["job", listed.id],
      queryFn: () => call<Job>("GET", `/jobs/${listed.id}`),
      initialData: listed,
      refetchInterval: ({ state }) =>
        state.data && TERMINAL.has(state.data.state) ? false : REFRESH_MILLISECONDS,
    }).data ?? listed;
  const messages = useQuery({
    queryKey: ["chat-messages", chat.id],
    queryFn: async () =>
      (await answer(api.GET("/api/jobs/{job_id}/messages", { params: { path } }))).items as ChatMessage[],
  });
  const said = useChat(chat.id);
  const send = useMutation({
    mutationFn: (body: Draft) => answer(api.POST("/api/jobs/{job_id}/messages", { params: { path }, body })),
    onSuccess: (message) =>
      queries.setQueryData(["chat-messages", chat.id], (before: ChatMessage[] = []) => [
        ...before,
        message as ChatMessage,
      ]),
  });
  const stop = useMutation({
    mutationFn: () => answer(api.POST("/api/jobs/{job_id}/stop", { params: { path } })),
    onSuccess: ({ items }) => queries.setQueryData(["chat-messages", chat.id], items),
  });
  const end = useMutation({
    mutationFn: () => call<Job>("POST", `/jobs/${chat.id}/cancel`),
    onSuccess: async (ended) => {
      queries.setQueryData(["job", chat.id], ended);
      await queries.invalidateQueries({ queryKey: ["chats", job.id] });
    },
    onError: () => queries.invalidateQueries({ queryKey: ["job", chat.id] }),
  });
  const over = TERMINAL.has(chat.state);
  const mine = me !== undefined && (me.role === "admin" || me.id === chat.owner.id);
  const open = mine && !over && chat.state !== "cancelling";
  const items = messages.data ?? [];
  const answering = items.some((message) => !said.answers.get(message.number)?.last?.ended);
  const again = (message: ChatMessage, adapter: boolean) => {
    const { text, system, max_new_tokens, temperature, number } = message;
    send.mutate({ text, system, max_new_tokens, temperature, adapter, again_of: number });
  };
  return (
    <div className="chat">
      <section className="card chat-talk" aria-label={t("conversation")}>
        <Group justify="space-between" mb="sm" gap="xs">
          <Group gap="sm">
            <Title order={2}>{t("title")}</Title>
            <span role="status">
              <StateBadge state={chat.state} label={over && !chat.failure ? t("ended") : undefined} />
            </span>
          </Group>
          {open && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconPlayerStop size={14} aria-hidden />}
              loading={end.isPending}
              onClick={() => end.mutate()}
            >
              {t("end")}
            </Button>
          )}
        </Group>
        <Standing chat={chat} />
        {messages.error && <Problem error={messages.error} retry={messages.refetch} />}
        <ChatConversation
          messages={items}
          said={said}
          over={over}
          again={open && said.ready?.adapter ? again : undefined}
        />
        {(end.error ?? stop.error) && <Problem error={end.error ?? stop.error} />}
        {open && (
          <ChatComposer
            chatId={chat.id}
            begun={begun}
            adapter={said.ready?.adapter ?? true}
            answering={answering}
            sending={send.isPending}
            error={send.error}
            send={(draft, sent) => send.mutate(draft, { onSuccess: sent })}
            stop={() => stop.mutate()}
          />
        )}
        {over && <Ended chat={chat} startAgain={startAgain} />}
      </section>
      <ChatMemory chat={chat} said={said} />
    </div>
  );
}

/** Until it is ready: what it waits for, or what it is at. */
function Standing({ chat }: { chat: Job }) {
  const { t } = useTranslation("chat");
  const sentence = useSaid();
  if (TERMINAL.has(chat.state) || chat.state === "running") return null;
  const { waiting_because: because, stage } = chat;
  return (
    <Stack mb="sm" gap="xs">
      <NoWorker />
      {because && !toldByNoWorker(chat) ? (
        <Alert color="yellow" icon={<IconHourglass size={18} aria-hidden />} title={t("waits")} role="status">
          {sentence(because, chat.waiting_sentence)}
        </Alert>
      ) : (
        <Group gap="xs" role="status">
          <Loader size="xs" />
          <Text size="sm" className="muted">
            {chat.state === "cancelling"
              ? t("ending")
              : stage
                ? t(`job:stage_${stage.replaceAll(" ", "_")}`, stage)
                : t("starting")}
          </Text>
        </Group>
      )}
    </Stack>
  );
}

/** How it ended, and a way to begin anew. */
function Ended({ chat, startAgain }: { chat: Job; startAgain?: () => void }) {
  const { t } = useTranslation("chat");
  const sentence = useSaid();
  const { failure } = chat;
  const at = chat.finished_at === null ? "" : formatDate(chat.finished_at);
  return (
    <Stack gap="sm" mt="md">
      {failure ? (
        <Alert
          color="red"
          role="alert"
          icon={<IconAlertTriangle size={18} aria-hidden />}
          title={t("failed", { at })}
        >
          <Text style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
            {sentence(failure.detail_sentence?.text ?? failure.detail, failure.detail_sentence)}
          </Text>
          {failure.advice && <Text mt="xs">{sentence(failure.advice, failure.advice_sentence)}</Text>}
          <LastLines lines={failure.last_lines ?? []} />
        </Alert>
      ) : (
        <Text size="sm" className="muted" role="status">
          {chat.state === "succeeded"
            ? t("endedIdle", { at, idle: formatLimit(chat.chat?.idle_seconds ?? 0) })
            : t("endedByHand", { at })}
        </Text>
      )}
      {startAgain && (
        <div>
          <Button
            variant="default"
            leftSection={<IconRefresh size={16} aria-hidden />}
            onClick={() => startAgain()}
          >
            {t("startAgain")}
          </Button>
        </div>
      )}
    </Stack>
  );
}
