import { Group, Select, Skeleton, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { answer, api } from "../../api/client";
import { type Job, TERMINAL } from "../../api/types";
import { Problem } from "../../ui/Problem";
import { useMe } from "../../ui/server";
import { useUrlState } from "../../ui/urlState";
import { formatDate } from "../../units";
import { ChatSession } from "./ChatSession";
import { ChatStart } from "./ChatStart";

const REFRESH_MILLISECONDS = 10_000;
const NEW = "new";

/** Talk to what a job has trained: the newest chat of one's own, an earlier one, or a new one. */
export function Chat({ job }: { job: Job }) {
  const { t } = useTranslation("chat");
  const [{ chat: wanted }, change] = useUrlState();
  const me = useMe().data;
  const [begun, setBegun] = useState<string>();
  const chats = useQuery({
    queryKey: ["chats", job.id],
    queryFn: async () => {
      const params = { path: { job_id: job.id } };
      return (await answer(api.GET("/api/jobs/{job_id}/chats", { params }))).items as unknown as Job[];
    },
    refetchInterval: REFRESH_MILLISECONDS,
  });
  if (chats.error) return <Problem error={chats.error} retry={chats.refetch} />;
  if (!chats.data) return <Skeleton height={320} radius={12} />;
  const mine = chats.data.filter((chat) => chat.owner.id === me?.id);
  const open = mine.find((chat) => !TERMINAL.has(chat.state));
  const shown =
    wanted === NEW && !open
      ? undefined
      : (chats.data.find((chat) => chat.id === wanted) ?? open ?? mine[0] ?? undefined);
  const choose = (id: string | null) => change({ chat: id ?? undefined });
  return (
    <Stack>
      {chats.data.length > 1 && (
        <Group>
          <Select
            aria-label={t("earlier")}
            size="xs"
            w={{ base: "100%", xs: 360 }}
            value={shown?.id ?? null}
            placeholder={t("earlier")}
            onChange={choose}
            allowDeselect={false}
            data={chats.data.map((chat) => ({
              value: chat.id,
              label: t("chatOf", { owner: chat.owner.username, at: formatDate(chat.created_at) }),
            }))}
          />
        </Group>
      )}
      {shown ? (
        <ChatSession
          begun={shown.id === begun}
          key={shown.id}
          job={job}
          chat={shown}
          startAgain={open ? undefined : () => choose(NEW)}
        />
      ) : (
        <ChatStart
          job={job}
          started={async (chat) => {
            setBegun(chat.id);
            await chats.refetch();
            choose(chat.id);
          }}
        />
      )}
    </Stack>
  );
}
