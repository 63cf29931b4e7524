import { Group, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Job } from "../../api/types";
import { useSaid } from "../../i18n/sentence";
import { StateBadge } from "../../ui/StateBadge";
import { formatDate } from "../../units";

/** How the attempts before this one ended: a retried or moved job keeps the reasons. */
export function EarlierAttempts({ attempts }: { attempts: NonNullable<Job["earlier_attempts"]> }) {
  const { t } = useTranslation("job");
  const said = useSaid();
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
          </Group>
          {failure && (
            <Text size="sm" mt={4} style={{ overflowWrap: "anywhere" }}>
              {said(failure.detail.split("\n", 1)[0] ?? "", failure.detail_sentence)}
            </Text>
          )}
        </div>
      ))}
    </details>
  );
}
