import { Button, Group, Text } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { download } from "../../ui/Copy";
import { Problem } from "../../ui/Problem";
import { StateBadge } from "../../ui/StateBadge";
import { formatDate } from "../../units";
import { wholeLog } from "./logLines";

/** How the attempts before this one ended: a retried or moved job keeps the reasons. */
export function EarlierAttempts({ job }: { job: Job }) {
  const { t } = useTranslation("job");
  const said = useSaid();
  const attempts = job.earlier_attempts ?? [];
  const save = useMutation({
    mutationFn: async (attempt: number) =>
      download(`${job.id}-${attempt}.log`, await wholeLog(job.id, attempt)),
  });
  if (attempts.length === 0) return null;
  return (
    <details className="card">
      <summary>{t("earlierAttempts", { count: attempts.length })}</summary>
      {attempts.map(({ attempt, state, step, total_steps, machine, finished_at, failure }) => (
        <div key={attempt} style={{ marginTop: 12 }}>
          <Group gap="xs">
            <b>{t("attemptNumber", { attempt })}</b>
            <StateBadge state={state} />
            <Text size="sm" className="muted">
              {[
                t("steps", { step, total: total_steps ?? "?" }),
                ...(machine ? [machine] : []),
                formatDate(finished_at),
              ].join(" · ")}
            </Text>
            <Button
              size="compact-xs"
              variant="default"
              leftSection={<IconDownload size={12} aria-hidden />}
              loading={save.isPending && save.variables === attempt}
              aria-label={t("logOfAttempt", { attempt })}
              onClick={() => save.mutate(attempt)}
            >
              {t("log")}
            </Button>
          </Group>
          {failure && (
            <Text size="sm" mt={4} style={{ overflowWrap: "anywhere" }}>
              {said(failure.detail.split("\n", 1)[0] ?? "", failure.detail_sentence)}
            </Text>
          )}
        </div>
      ))}
      {save.error && <Problem error={save.error} />}
    </details>
  );
}
