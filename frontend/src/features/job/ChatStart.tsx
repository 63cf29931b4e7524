import { Button, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconMessageCircle, IconMessageOff } from "@tabler/icons-react";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiProblem, answer, api } from "../../api/client";
import type { Estimate, Job } from "../../api/types";
import { MemoryLedger } from "../../charts/MemoryLedger";
import { problemText } from "../../i18n/problem";
import { useSaid } from "../../i18n/sentence";
import { NumberEntry } from "../../spec/NumberEntry";
import { Assumptions } from "../../ui/Assumptions";
import { Empty } from "../../ui/Empty";
import { Problem } from "../../ui/Problem";
import { formatLimit } from "../../units";

const DEBOUNCE_MILLISECONDS = 250;

/** What a chat would take, before it begins. */
export function ChatStart({ job, started }: { job: Job; started: (chat: Job) => void }) {
  const { t } = useTranslation("chat");
  const said = useSaid();
  const [context, setContext] = useState<number | string | null>(null);
  const [asked] = useDebouncedValue(context, DEBOUNCE_MILLISECONDS);
  const plan = useQuery({
    queryKey: ["chat-plan", job.id, job.state, asked],
    queryFn: () => {
      // What is no number goes to the server as it is, which says what is wrong with it.
      const query = { context_tokens: (asked || undefined) as number | undefined };
      return answer(api.GET("/api/jobs/{job_id}/chat", { params: { path: { job_id: job.id }, query } }));
    },
    placeholderData: keepPreviousData,
  });
  const start = useMutation({
    mutationFn: async () => {
      const body = { context_tokens: (context || null) as number | null };
      const params = { path: { job_id: job.id } };
      return (await answer(api.POST("/api/jobs/{job_id}/chat", { params, body }))) as unknown as Job;
    },
    onSuccess: started,
  });
  const wrong = plan.error instanceof ApiProblem ? plan.error.errors[0] : undefined;
  if (plan.error && !wrong) return <Problem error={plan.error} retry={plan.refetch} />;
  if (!plan.data && !wrong) return <Skeleton height={320} radius={12} />;
  const found = plan.data;
  if (found?.unavailable_because)
    return (
      <Empty
        icon={<IconMessageOff size={26} />}
        title={said(found.unavailable_because, found.unavailable_sentence)}
        about={t("unavailableAbout")}
      />
    );
  const estimate = (found?.estimate ?? null) as Estimate | null;
  return (
    <section className="card" aria-label={t("start")}>
      <Stack>
        <div>
          <Title order={2}>{t("title")}</Title>
          <Text className="muted" maw={680}>
            {t("about")} {found && t("idle", { idle: formatLimit(found.idle_seconds) })}
          </Text>
        </div>
        <Group align="flex-start" gap="md">
          <div style={{ width: 240 }}>
            <NumberEntry
              label={t("longest")}
              description={
                found?.most_tokens
                  ? t("longestMost", { tokens: found.most_tokens.toLocaleString("en-US") })
                  : t("longestAbout")
              }
              error={wrong && problemText(wrong)}
              whole
              step={1024}
              value={context ?? found?.context_tokens ?? ""}
              onChange={setContext}
            />
          </div>
        </Group>
        {estimate && !wrong && (
          <>
            <MemoryLedger
              ledger={estimate.ledger}
              totalBytes={estimate.total_bytes}
              capacityBytes={estimate.device.total_bytes}
              label={t("predicted", { device: estimate.device.name })}
            />
            <Assumptions assumptions={estimate.assumptions} sentences={estimate.assumption_sentences} />
          </>
        )}
        {found && !found.estimate && !wrong && (
          <Text>
            {t("noEstimate", {
              reason: said(found.estimate_unknown_because ?? "", found.estimate_unknown_sentence),
            })}
          </Text>
        )}
        {start.error && <Problem error={start.error} />}
        <div>
          <Button
            leftSection={<IconMessageCircle size={16} aria-hidden />}
            disabled={Boolean(wrong)}
            loading={start.isPending}
            onClick={() => start.mutate()}
          >
            {t("start")}
          </Button>
        </div>
      </Stack>
    </section>
  );
}
